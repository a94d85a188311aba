"""Runs of workflows while processes are killed at random: `python -m tests.chaos runs --minutes N [--agents]`."""
