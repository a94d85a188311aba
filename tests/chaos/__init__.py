"""Hundreds of random kills, by hand: see __main__."""
