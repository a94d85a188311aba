"""Sockets of sandboxes."""
