"""File system events of one folder, or of all below it, from inotify(7) through ctypes (no timers, no threads)."""

# Paths here are the caller's text, and calls are quick system calls.
# ruff: noqa: PTH118

import ctypes
import os
import struct
from collections.abc import Callable, Iterator

_IN_MODIFY, _IN_ATTRIB = 0x2, 0x4
_IN_MOVED_FROM, _IN_MOVED_TO, _IN_CREATE, _IN_DELETE = 0x40, 0x80, 0x100, 0x200
_IN_DELETE_SELF, _IN_MOVE_SELF = 0x400, 0x800
_IN_Q_OVERFLOW, _IN_IGNORED, _IN_ISDIR = 0x4000, 0x8000, 0x40000000
_IN_ONLYDIR, _IN_DONT_FOLLOW = 0x1000000, 0x2000000
_MASK = (
    _IN_MODIFY | _IN_ATTRIB | _IN_MOVED_FROM | _IN_MOVED_TO | _IN_CREATE | _IN_DELETE | _IN_DELETE_SELF | _IN_MOVE_SELF
)

_KINDS = (
    (_IN_CREATE | _IN_MOVED_TO, "EVENT_TYPE_CREATE"),
    (_IN_MOVED_FROM | _IN_MOVE_SELF, "EVENT_TYPE_RENAME"),
    (_IN_ATTRIB, "EVENT_TYPE_CHMOD"),
    (_IN_MODIFY, "EVENT_TYPE_WRITE"),
    (_IN_DELETE | _IN_DELETE_SELF, "EVENT_TYPE_REMOVE"),
)

_libc = ctypes.CDLL(None, use_errno=True)


class Overflow(Exception):
    """The kernel dropped events because nobody read them in time."""


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _below(folder: str) -> Iterator[os.DirEntry[str]]:
    """All below `folder`, parents first; what vanishes meanwhile is left out, links are not followed."""
    try:
        with os.scandir(folder) as found:
            children = list(found)
    except OSError:
        return
    for child in children:
        yield child
        if child.is_dir(follow_symlinks=False):
            yield from _below(child.path)


def _has_content(child: os.DirEntry[str]) -> bool:
    try:
        return child.is_file(follow_symlinks=False) and child.stat(follow_symlinks=False).st_size > 0
    except OSError:
        return False


class Inotify:
    """Events of `root` go to `notify(path relative to root, event type)` whenever `drain` is called."""

    def __init__(self, root: str, recursive: bool, notify: Callable[[str, str], None]) -> None:
        self._root = root
        self._recursive = recursive
        self._notify = notify
        self._folders: dict[int, str] = {}
        self._announced: set[str] = set()
        self.fd = _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        try:
            self._root_watch = self._add(root, follow=True)
            for child in _below(root) if recursive else ():
                if child.is_dir(follow_symlinks=False):
                    self._try_add(child.path)
        except BaseException:
            os.close(self.fd)
            raise

    def close(self) -> None:
        os.close(self.fd)

    def _add(self, folder: str, follow: bool = False) -> int:
        flags = _MASK | _IN_ONLYDIR | (0 if follow else _IN_DONT_FOLLOW)
        watch = _checked(_libc.inotify_add_watch(self.fd, os.fsencode(folder), ctypes.c_uint32(flags)))
        self._folders[watch] = folder
        return watch

    def _try_add(self, folder: str) -> None:
        try:
            self._add(folder)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return  # gone again, or not ours to see

    def drain(self) -> None:
        """Report all that the kernel holds. Raises Overflow, and OSError when the watches run out."""
        while True:
            try:
                data = os.read(self.fd, 64 * 1024)
            except BlockingIOError:
                return
            self._report_all(data)

    def _report_all(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            watch, mask, _, size = struct.unpack_from("iIII", data, at)
            name = os.fsdecode(data[at + 16 : at + 16 + size].rstrip(b"\0"))
            at += 16 + size
            self._report(watch, mask, name)

    def _report(self, watch: int, mask: int, name: str) -> None:
        if mask & _IN_Q_OVERFLOW:
            raise Overflow
        folder = self._folders.get(watch)
        if folder is None:
            return
        if mask & _IN_IGNORED:
            del self._folders[watch]
        elif name:
            self._report_child(os.path.join(folder, name), mask)
        elif watch == self._root_watch:  # a folder below is reported by its parent
            self._emit(folder, mask)

    def _report_child(self, path: str, mask: int) -> None:
        if mask & (_IN_DELETE | _IN_MOVED_FROM):
            self._announced.discard(path)
        if mask & _IN_CREATE and path in self._announced:
            self._announced.discard(path)
            return
        self._emit(path, mask)
        if self._recursive and mask & _IN_ISDIR and mask & (_IN_CREATE | _IN_MOVED_TO):
            self._follow(path)

    def _emit(self, path: str, mask: int) -> None:
        for bits, kind in _KINDS:
            if mask & bits:
                self._notify(os.path.relpath(path, self._root), kind)

    def _follow(self, folder: str) -> None:
        """Watch a new folder. What was made in it before the watch stood is announced here, and told once."""
        self._try_add(folder)
        for child in _below(folder):
            if child.is_dir(follow_symlinks=False):
                self._try_add(child.path)
            self._announced.add(child.path)
            self._emit(child.path, _IN_CREATE | (_IN_MODIFY if _has_content(child) else 0))
