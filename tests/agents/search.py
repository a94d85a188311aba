"""Runs inside a machine: where in it a text is, in any process and in any file.

    python3 search.py TXET ...        each text reversed, so that the search itself does not hold it

Prints JSON: {text reversed: ["environ PID NAME", "cmdline ...", "memory ...", "file PATH", "shell"]}. What the host
lends read-only (its own /usr, Node, the tools) is left out: nothing in a sandbox can write there.
"""
# ruff: noqa: PTH113, PTH118, PTH123, PTH208  (its paths are text from /proc)

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import BinaryIO

LENT = ("/proc", "/sys", "/dev", "/usr", "/opt/node", "/opt/tools", sys.base_prefix)
PIECE = 4 << 20


def contains(stream: BinaryIO, needles: list[bytes]) -> set[bytes]:
    """The needles that are in a stream of bytes."""
    found, tail = set[bytes](), b""
    keep = max(map(len, needles)) - 1
    while piece := stream.read(PIECE):
        data = tail + piece
        found.update(needle for needle in needles if needle in data)
        tail = data[-keep:]
    return found


def memory(pid: str, needles: list[bytes]) -> set[bytes]:
    """The needles in what a process has in its memory."""
    found = set[bytes]()
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb") as mem:
        for line in maps:
            place, rights = line.split()[:2]
            start, end = (int(side, 16) for side in place.split("-"))
            if rights[0] == "r" and not line.endswith(("[vvar]\n", "[vvar_vclock]\n", "[vsyscall]\n")):
                found |= region(mem, start, end, needles)
    return found


def region(mem: BinaryIO, start: int, end: int, needles: list[bytes]) -> set[bytes]:
    """The needles between two addresses."""
    found, tail, keep = set[bytes](), b"", max(map(len, needles)) - 1
    while start < end:
        try:
            mem.seek(start)
            data = tail + mem.read(min(PIECE, end - start))
        except (OSError, ValueError, OverflowError):
            data = b""  # not there after all
        found.update(needle for needle in needles if needle in data)
        tail, start = data[-keep:], start + PIECE
    return found


def processes(needles: list[bytes]) -> Iterator[tuple[str, bytes]]:
    """("environ PID NAME", needle) and the like, of every process that may be looked into but this one."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if int(pid) == os.getpid():
            continue
        try:
            with open(f"/proc/{pid}/comm") as file:
                name = file.read().strip()
        except OSError:
            continue  # ended meanwhile
        for kind in ("environ", "cmdline", "memory"):
            try:
                if kind == "memory":
                    found = memory(pid, needles)
                else:
                    with open(f"/proc/{pid}/{kind}", "rb") as file:
                        found = contains(file, needles)
            except OSError:
                continue
            yield from ((f"{kind} {pid} {name}", needle) for needle in found)


def files(needles: list[bytes]) -> Iterator[tuple[str, bytes]]:
    """("file PATH", needle) of every file that may be read."""
    for folder, names, leaves in os.walk("/"):
        names[:] = [name for name in names if os.path.join(folder, name) not in LENT]
        for leaf in leaves:
            path = os.path.join(folder, leaf)
            if os.path.isfile(path):
                try:
                    with open(path, "rb") as file:
                        yield from ((f"file {path}", needle) for needle in contains(file, needles))
                except OSError:
                    continue


def shell(needles: list[bytes]) -> Iterator[tuple[str, bytes]]:
    """("shell", needle) for what a person's terminal would have in its environment."""
    said = subprocess.run(["bash", "-i", "-l", "-c", "env; set"], capture_output=True, stdin=subprocess.DEVNULL)
    yield from (("shell", needle) for needle in needles if needle in said.stdout)


def main(words: list[str]) -> None:
    """Search and print."""
    needles = {word[::-1].encode(): word for word in words}
    places: dict[str, list[str]] = {word: [] for word in words}
    for search in (processes, files, shell):
        for place, needle in search(list(needles)):
            places[needles[needle]].append(place)
    print(json.dumps(places))


main(sys.argv[1:])
