"""Who listens on TCP in this network namespace (proc(5), /proc/net/tcp)."""

# Paths here are the caller's text, and calls are quick system calls.
# ruff: noqa: PTH115

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_LISTEN = "0A"


def _rows() -> Iterator[list[str]]:
    for name in ("tcp", "tcp6"):
        try:
            lines = Path("/proc/net", name).read_text().splitlines()[1:]
        except FileNotFoundError:
            continue  # no IPv6 in this kernel
        yield from (line.split() for line in lines)


def _owners() -> dict[str, int]:
    """Socket inode to pid, for the processes whose descriptors we may read."""
    owners: dict[str, int] = {}
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            target = os.readlink(link)
        except OSError:
            continue  # closed or ended meanwhile
        if target.startswith("socket:["):
            owners[target[8:-1]] = int(link.parts[2])
    return owners


def listening(exclude: set[int]) -> list[dict[str, Any]]:
    """`{"port", "uid", "pid"}` in order of port; pid is None when it cannot be known."""
    owners = _owners()
    found: dict[int, dict[str, Any]] = {}
    for fields in _rows():
        port = int(fields[1].rpartition(":")[2], 16)
        if fields[3] == _LISTEN and port not in exclude:
            found[port] = {"port": port, "uid": int(fields[7]), "pid": owners.get(fields[9])}
    return [found[port] for port in sorted(found)]
