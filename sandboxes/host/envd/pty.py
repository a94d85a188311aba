"""Pseudo-terminals: a pair with a size, and making one the controlling terminal of a new session."""

import fcntl
import os
import struct
import termios

MAX_CELLS = 0xFFFF


def open_pair(rows: int, cols: int) -> tuple[int, int]:
    """(master, slave), sized."""
    master, slave = os.openpty()
    resize(master, rows, cols)
    return master, slave


def resize(master: int, rows: int, cols: int) -> None:
    """The kernel tells the foreground process by SIGWINCH."""
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", min(rows, MAX_CELLS), min(cols, MAX_CELLS), 0, 0))


def take_terminal() -> None:
    """In the new session leader, before exec: fd 0 becomes its controlling terminal."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
