"""The writable home of a sandbox: an ext4 image of its own as root, else a folder that is measured."""

import asyncio
import contextlib
import functools
import os
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

from . import bwrap
from .settings import HostError

# No journal: an image never outlives a crash of the machine. Inode tables stay sparse.
MAKE = ("mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-m", "0", "-E", "lazy_itable_init=1,nodiscard")


async def make_image(path: Path, size_mb: int) -> None:
    """A sparse file of `size_mb` MiB with an empty file system (about 4 MB on disk).

    Raises HostError when mkfs.ext4 fails.
    """
    with path.open("wb") as image:
        os.truncate(image.fileno(), size_mb << 20)
    process = await asyncio.create_subprocess_exec(*MAKE, str(path), stderr=asyncio.subprocess.PIPE)
    _, errors = await process.communicate()
    if process.returncode != 0:
        raise HostError(f"The disk of a sandbox cannot be made: {errors.decode(errors='replace').strip()}")


@functools.cache
def images_work() -> bool:
    """Whether this host can mount images; found out once, by mounting a small one where nobody sees it."""
    if not bwrap.can_switch_users() or not shutil.which("mkfs.ext4"):
        return False
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "disk").touch()
        os.truncate(Path(folder) / "disk", 1 << 20)
        trial = f"{' '.join(MAKE)} disk && mkdir at && mount -t ext4 -o loop disk at"
        words = ["unshare", "--mount", "sh", "-c", trial]
        return subprocess.run(words, cwd=folder, capture_output=True, check=False).returncode == 0


def size_of(folder: Path) -> int:
    """Bytes really used below a folder, links not followed, what can't be read not counted."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += (Path(parent) / name).lstat().st_blocks * 512
    return total


def usage(root_pid: int, inside: str) -> tuple[int, int]:
    """Used and total bytes of the file system at `inside`, as a sandbox's process sees it.

    (0, 0) when the process is gone or the kernel doesn't let us look.
    """
    try:
        found = os.statvfs(f"/proc/{root_pid}/root{inside}")
    except OSError:
        return 0, 0
    return (found.f_blocks - found.f_bfree) * found.f_frsize, found.f_blocks * found.f_frsize


def delete(folder: Path) -> None:
    """Remove a sandbox's folder with all in it, also folders that were made unreadable.

    Raises OSError when something cannot be removed.
    """
    for parent, names, _ in os.walk(folder):
        for name in names:
            path = Path(parent) / name
            if not path.is_symlink() and path.stat().st_mode & stat.S_IRWXU != stat.S_IRWXU:
                path.chmod(0o700)
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)
