"""Becomes a program that ends with its parent: `python leash.py PARENT PROGRAM ARGUMENT...`.

Run as a script: between fork and exec, where only C is safe once a parent has threads, it could not be asked for.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    """Ask the kernel for SIGTERM at the parent's death (prctl(2)), unless that has come already; then exec."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == parent:
        os.execvp(command[0], command)  # noqa: S606  (no shell is the point)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
