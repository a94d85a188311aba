"""What the portal knows of the courier: the files to upload, the lines that run it, the lines it prints.

`courier.py` and `snapshot.py` beside this module run inside the machine; they are never imported here.
"""

import binascii
import hashlib
import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

SOURCE: bytes = Path(__file__).with_name("courier.py").read_bytes()
SNAPSHOT: bytes = Path(__file__).with_name("snapshot.py").read_bytes()
VERSION: str = hashlib.sha256(SOURCE).hexdigest()[:12]
HOME = "~/.courier"  # in the machine: jobs/<id>/spec.json and spool are below it

Stream = Literal["stdout", "stderr", "pty"]
STREAMS: dict[bytes, Stream] = {b"stdout": "stdout", b"stderr": "stderr", b"pty": "pty"}
HEAD = re.compile(rb'\{"seq":(\d{1,15}),"t":(\d{1,15}),"stream":"(stdout|stderr|pty)","data":"')
# imported as a module, Python keeps the compiled file: a start takes half the time
LOADER = "import sys; sys.path.insert(0, sys.argv[1]); import courier; sys.exit(courier.main(sys.argv[2:]))"


class BadLine(ValueError):
    """A line that the courier never writes: the command has tampered with its spool."""


@dataclass(frozen=True, slots=True)
class Record:
    """Output of a command; `t` in ms since its start, never falling; `seq` gapless from 1."""

    seq: int
    t: int
    stream: Stream
    data: bytes


@dataclass(frozen=True, slots=True)
class Exit:
    """The last record. `reason` is None when the command ended by itself, else one word (see courier.py)."""

    seq: int
    t: int
    code: int | None
    signal: int | None
    reason: str | None
    message: str | None
    details: dict[str, Any]  # seconds, cpu_s, max_rss_kb, bytes


@dataclass(frozen=True, slots=True)
class Tick:
    """The stream is quiet: no later record is earlier than `t` ms. Part of the spool."""

    t: int


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The follower lives; `offset` is where it reads. Not part of the spool."""

    t: int
    offset: int


Line = Record | Exit | Tick | Heartbeat


def command(verb: str, *args: str | int) -> str:
    """The shell line that runs a verb in the machine, as the user whose home has the courier."""
    words = [verb, *map(str, args)]
    return f"exec python3 -I -S -c {shlex.quote(LOADER)} {HOME} {shlex.join(words)}"


def parse(line: bytes) -> Line:
    """One line of `follow`, with or without its newline; raises BadLine.

    Offsets: add `len(line)` including the newline for every line but a Heartbeat.
    """
    line = line.removesuffix(b"\n")
    head = HEAD.match(line)
    try:
        return _record(head, line) if head else _other(json.loads(line))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadLine(f"not a line of the courier: {line[:80]!r}") from error


def _record(head: re.Match[bytes], line: bytes) -> Record:
    if not line.endswith(b'"}'):
        raise ValueError("unfinished record")
    data = binascii.a2b_base64(memoryview(line)[head.end() : -2], strict_mode=True)
    return Record(int(head[1]), int(head[2]), STREAMS[head[3]], data)


def _other(value: dict[str, Any]) -> Line:
    if "tick" in value:
        return Tick(_count(value["tick"]))
    if "heartbeat" in value:
        return Heartbeat(_count(value["heartbeat"]), _count(value["offset"]))
    verdict = dict(value["exit"])
    code, signal = verdict.pop("code"), verdict.pop("signal")
    reason, message = verdict.pop("reason"), verdict.pop("message")
    return Exit(
        _count(value["seq"]),
        _count(value["t"]),
        None if code is None else _count(code),
        None if signal is None else _count(signal),
        None if reason is None else str(reason)[:40],
        None if message is None else str(message)[:1000],
        verdict,
    )


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 10**15:
        raise ValueError(f"{value!r} is not a count")
    return value
