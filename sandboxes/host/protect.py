"""Makes a folder of a running sandbox read-only for good: run as `python -I -S protect.py PID PATH`.

A process of its own, because only one with a single thread may enter a user namespace. It goes into the mount
namespace of process PID with the rights of the user namespace that owns it. What runs in the sandbox has none there
and may not mount (see `seccomp`), so it can neither undo this nor put another folder in its place.
"""

import ctypes
import fcntl
import os
import sys

CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
# linux/nsfs.h: the user namespace that owns a namespace.
NS_GET_USERNS = 0xB701
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC = 1, 32, 4096, 16384
# What a remount must not take away (statvfs(3), mount(2)): nosuid, nodev, noexec, noatime, relatime.
KEPT = {2: 2, 4: 4, 8: 8, 1024: 1024, 4096: 1 << 21}


def enter(pid: int) -> None:
    """Go where that process sees its files."""
    mounts = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY)
    owner = fcntl.ioctl(mounts, NS_GET_USERNS)
    os.setns(owner, CLONE_NEWUSER)
    os.setns(mounts, CLONE_NEWNS)


def mount(source: bytes | None, target: bytes, flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(source, target, None, flags, None) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def protect(path: str) -> None:
    """Asked again, it changes nothing."""
    found = os.statvfs(path).f_flag
    if found & MS_RDONLY:
        return
    kept = sum(flag for seen, flag in KEPT.items() if found & seen)
    target = os.fsencode(path)
    mount(target, target, MS_BIND | MS_REC)
    mount(None, target, MS_REMOUNT | MS_BIND | MS_RDONLY | kept)


if __name__ == "__main__":
    try:
        enter(int(sys.argv[1]))
        protect(sys.argv[2])
    except OSError as error:
        sys.exit(f"{sys.argv[2]} could not be made read-only: {error.strerror}")
