"""Shows a folder of the host in a running sandbox, read-only: run as `python -I -S lend.py PID SOURCE TARGET`.

A process of its own for the reasons that `protect` has. The folder is taken hold of before this process goes into the
sandbox's mount namespace, where its path means nothing; the target is a folder as the sandbox sees it. Needs root.
"""

import ctypes
import os
import sys
from pathlib import Path

# A script's own folder is not on the path of an isolated Python.
sys.path.insert(0, str(Path(__file__).parent))

import protect  # type: ignore[import-not-found]

# linux/mount.h and asm-generic/unistd.h: the same numbers on every processor.
SYS_OPEN_TREE, SYS_MOVE_MOUNT, SYS_MOUNT_SETATTR = 428, 429, 442
AT_FDCWD, AT_EMPTY_PATH = -100, 0x1000
OPEN_TREE_CLONE, OPEN_TREE_CLOEXEC = 1, os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 4
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV = 1, 2, 4

libc = ctypes.CDLL(None, use_errno=True)


class Attributes(ctypes.Structure):
    """struct mount_attr of mount_setattr(2)."""

    _fields_ = [(name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd")]


def call(number: int, *words: object) -> int:
    """A system call that the C library may not have yet; OSError when it fails."""
    done = libc.syscall(number, *words)
    if done < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(done)


def take(source: str) -> int:
    """A mount of that folder that is nowhere yet and can't be written through."""
    handle = call(SYS_OPEN_TREE, AT_FDCWD, os.fsencode(source), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)
    wanted = Attributes(attr_set=MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)
    call(SYS_MOUNT_SETATTR, handle, b"", AT_EMPTY_PATH, ctypes.byref(wanted), ctypes.sizeof(wanted))
    return handle


def lend(pid: int, source: str, target: str) -> None:
    """Show it there; asked again, it changes nothing."""
    handle = take(source)
    here = os.fstat(handle)
    protect.enter(pid)
    there = Path(target).stat()
    if (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino):
        call(SYS_MOVE_MOUNT, handle, b"", AT_FDCWD, os.fsencode(target), MOVE_MOUNT_F_EMPTY_PATH)


if __name__ == "__main__":
    try:
        lend(int(sys.argv[1]), sys.argv[2], sys.argv[3])
    except OSError as error:
        sys.exit(f"{sys.argv[3]} could not be lent: {error.strerror}")
