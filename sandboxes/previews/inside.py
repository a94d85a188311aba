"""What runs in a machine to find its servers: prints [[port, name of the program], ...] as one line of JSON.

Standard library of Python 3.8 and newer. Sockets are in /proc/net/tcp (proc(5)); the program is found by its open
files, where they may be read. Arguments are ports that are none of the person's own.
"""
# Each import costs every call some milliseconds.
# ruff: noqa: PTH115, PTH118, PTH123, PTH208

from __future__ import annotations

import contextlib
import json
import os
import re
import sys

LISTEN = "0A"
LOOPBACK = re.compile(r"^https?://(?:127\.0\.0\.1|localhost):(\d+)")


def sockets() -> dict[int, str]:
    """Port to the socket's inode."""
    found = {}
    for name in ("tcp6", "tcp"):
        with contextlib.suppress(OSError), open("/proc/net/" + name) as table:
            for row in table.readlines()[1:]:
                fields = row.split()
                if fields[3] == LISTEN:
                    found[int(fields[1].rpartition(":")[2], 16)] = fields[9]
    return found


def owners(inodes: set[str]) -> dict[str, str]:
    """Inode to the name of the program that has it open."""
    found: dict[str, str] = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        folder = os.path.join("/proc", pid)
        with contextlib.suppress(OSError):
            for number in os.listdir(folder + "/fd"):
                with contextlib.suppress(OSError):
                    inode = os.readlink(folder + "/fd/" + number)[8:-1]
                    if inode in inodes and inode not in found:
                        with open(folder + "/comm", errors="replace") as name:
                            found[inode] = name.read().strip()
    return found


def ours() -> set[int]:
    """Ports of the machine's own plumbing, which the environment names."""
    proxies = (LOOPBACK.match(os.environ.get(name, "")) for name in ("http_proxy", "CODECOURIER_GATEWAY"))
    return {int(found.group(1)) for found in proxies if found} | {int(port) for port in sys.argv[1:]}


def main() -> None:
    """Look, then print."""
    skipped = ours()
    found = {port: inode for port, inode in sockets().items() if port not in skipped}
    names = owners(set(found.values()))
    print(json.dumps([[port, names.get(found[port], "")] for port in sorted(found)]))  # noqa: T201


if __name__ == "__main__":
    main()
