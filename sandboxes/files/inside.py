"""What runs in a machine to look at its files: one verb per call, standard library of Python 3.8 and newer.

`python3 -c SOURCE VERB JSON` prints one line of JSON: the answer, or {"error": sentence}. Paths are relative to the
project folder; one that leads out of it, through `..` or a link, is refused.
"""
# Paths are the caller's text, and each import costs every call some milliseconds.
# ruff: noqa: PTH110, PTH111, PTH112, PTH114, PTH115, PTH116, PTH118, PTH119, PTH120, PTH123, PTH202, PTH204, PTH208
# ruff: noqa: PTH103, PTH104, PTH105, PTH108, UP031

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import stat
import sys
import time
import zipfile
from typing import Any, Callable, Iterator  # noqa: UP035

HOME = os.path.expanduser("~")
ROOT = os.path.realpath(os.path.join(HOME, "project"))
SPOOL = os.path.join(HOME, ".courier", "files")
STALE_SECONDS = 3600


class Refused(Exception):
    """The sentence for the page."""


def place(path: str) -> str:
    """The real path; the project folder's own for an empty one."""
    asked = os.path.join(ROOT, path.strip("/"))
    real = os.path.realpath(asked)
    if real != ROOT and not real.startswith(ROOT + os.sep):
        raise Refused("This leads out of the project folder, to %s. Use the terminal to go there." % real)
    if not os.path.lexists(real):
        raise Refused("There is no %s any more." % (path or "project folder"))
    return real


def within(path: str) -> str:
    """A path itself, not what a link there leads to: its folder is real, its name is its own."""
    folder, name = os.path.split(path.strip("/"))
    if name in ("", ".", ".."):
        raise Refused("Choose a file or a folder in the project.")
    full = os.path.join(place(folder), name)
    if not os.path.lexists(full):
        raise Refused("There is no %s any more." % path)
    return full


def target(folder: str, name: str) -> str:
    """Where a new name goes in a folder; never anywhere else."""
    if name in ("", ".", "..") or "/" in name or "\0" in name or len(os.fsencode(name)) > 255:
        raise Refused("A name has 1 to 255 bytes and no slash.")
    real = place(folder)
    if not os.path.isdir(real):
        raise Refused("There is no folder %s any more." % folder)
    return os.path.join(real, name)


def look(path: str, hidden: bool, most: int, head: int) -> dict[str, Any]:
    """A folder's first `most` entries, or a file with its first `head` bytes."""
    real = place(path)
    about = os.stat(real)
    if stat.S_ISDIR(about.st_mode):
        return listing(real, hidden, most)
    found = {"kind": "file", "size": about.st_size, "changed": about.st_mtime, "real": real, "head": ""}
    if not stat.S_ISREG(about.st_mode):
        # Opening a pipe or a device could wait for ever.
        return dict(found, kind="other")
    with open(real, "rb") as file:
        return dict(found, head=base64.b64encode(file.read(head)).decode("ascii"))


def listing(folder: str, hidden: bool, most: int) -> dict[str, Any]:
    """Folders first, then by name."""
    entries: list[dict[str, Any]] = []
    more = 0
    with os.scandir(folder) as found:
        for entry in found:
            if not hidden and entry.name.startswith("."):
                continue
            if len(entries) >= most:
                more += 1
            else:
                entries.append(described(entry))
    entries.sort(key=lambda entry: (entry["kind"] != "folder", entry["name"].lower(), entry["name"]))
    return {"kind": "folder", "entries": entries, "more": more}


def described(entry: os.DirEntry[str]) -> dict[str, Any]:
    """Name, kind, size in bytes, time of the last change; for a link where it leads and what is there."""
    made: dict[str, Any] = {
        "name": entry.name,
        "kind": "other",
        "size": None,
        "changed": None,
        "target": "",
        "inside": True,
    }
    with contextlib.suppress(OSError):
        if entry.is_symlink():
            made["target"] = os.readlink(entry.path)
            real = os.path.realpath(entry.path)
            made["inside"] = (real + os.sep).startswith(ROOT + os.sep) and os.path.exists(real)
        about = entry.stat(follow_symlinks=made["inside"])
        made.update(size=about.st_size, changed=about.st_mtime)
        if stat.S_ISDIR(about.st_mode):
            made["kind"] = "folder"
        elif stat.S_ISREG(about.st_mode):
            made["kind"] = "file"
    return made


def append(
    piece: str, part: str, offset: int, last: bool, folder: str, name: str, replace: bool, most: int
) -> dict[str, Any]:
    """One more slice of an upload, which lies at a path of its own; with the last one the file takes its name."""
    part = os.path.join(SPOOL, part)
    try:
        goal = target(folder, name)
        if os.path.isdir(goal) and not os.path.islink(goal):
            raise Refused("There is a folder %s already." % name)
        if not replace and os.path.lexists(goal):
            return {"exists": name}
        if offset == 0:
            tidy()
        grow(part, piece, offset, most)
    finally:
        os.unlink(piece)
    if last:
        settle(part, goal)
    return {}


def grow(part: str, piece: str, offset: int, most: int) -> None:
    """Put a slice behind what is there, if it belongs there and there is room."""
    there = os.path.getsize(part) if os.path.exists(part) else 0
    if there != offset:
        raise Refused("The upload was interrupted. Begin it again.")
    if there + os.path.getsize(piece) > most:
        raise Refused("An upload may have %d MB. Use the terminal for more." % (most // 1048576))
    with open(part, "ab") as whole, open(piece, "rb") as more:
        shutil.copyfileobj(more, whole)


def settle(part: str, goal: str) -> None:
    """Give a whole upload its name at once; the spool may be on another file system than the project."""
    beside = os.path.join(os.path.dirname(goal), "." + os.path.basename(part))
    shutil.copyfile(part, beside)
    os.replace(beside, goal)
    os.unlink(part)


def tidy() -> None:
    """Remove what uploads and downloads left behind that nobody finished."""
    for name in os.listdir(SPOOL):
        path = os.path.join(SPOOL, name)
        with contextlib.suppress(OSError):
            if time.time() - os.path.getmtime(path) > STALE_SECONDS:
                os.unlink(path)


def pack(path: str, name: str, most: int, files: int) -> dict[str, Any]:
    """A zip of a folder, in the spool; links are left out, as they may lead anywhere."""
    real = place(path)
    if not os.path.isdir(real):
        raise Refused("Only a folder can be packed.")
    os.makedirs(SPOOL, exist_ok=True)
    tidy()
    made, size, count = os.path.join(SPOOL, name), 0, 0
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=1, strict_timestamps=False) as packed:
        for full in members(real):
            size, count = size + os.path.getsize(full), count + 1
            if size > most or count > files:
                packed.close()
                os.unlink(made)
                raise Refused(
                    "The folder has more than %d MB or %d files. Pack a smaller one." % (most // 1048576, files)
                )
            packed.write(full, os.path.relpath(full, real))
    return {"path": made}


def members(folder: str) -> Iterator[str]:
    """Every regular file below a folder."""
    for parent, _, names in os.walk(folder):
        for name in names:
            full = os.path.join(parent, name)
            if stat.S_ISREG(os.lstat(full).st_mode):
                yield full


def rename(path: str, name: str) -> dict[str, Any]:
    """Another name in the same folder."""
    old = within(path)
    new = os.path.join(os.path.dirname(old), os.path.basename(target(os.path.dirname(path.strip("/")), name)))
    if os.path.lexists(new):
        raise Refused("There is a %s already." % name)
    os.rename(old, new)
    return {}


def remove(path: str) -> dict[str, Any]:
    """A file, a link itself, or a folder with all that is in it."""
    full = within(path)
    if os.path.isdir(full) and not os.path.islink(full):
        shutil.rmtree(full)
    else:
        os.unlink(full)
    return {}


VERBS: dict[str, Callable[..., dict[str, Any]]] = {
    "look": look,
    "append": append,
    "pack": pack,
    "rename": rename,
    "remove": remove,
}


def main(verb: str, words: str) -> None:
    """Answer in one line; a fault of the file system is a sentence too."""
    try:
        answer = VERBS[verb](**json.loads(words))
    except Refused as error:
        answer = {"error": str(error)}
    except OSError as error:
        answer = {"error": "The machine says: %s." % error.strerror}
    print(json.dumps(answer))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
