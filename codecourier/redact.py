"""Keeps secret values out of what is stored: a pure streaming function over a job's spool.

stored == redact(spool): what is held back and when it is let go depends only on the bytes and on the
times written in the spool, never on a clock here, so any process may go on where another stopped.
"""

import base64
import binascii
import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote, quote_plus

from ahocorasick_rs import BytesAhoCorasick

SHORTEST = 6  # characters; shorter values are refused where they are entered
SHORTEST_LINE = 16  # of a value of several lines, such as a PEM key
HOLD_MS = 250
MIME_LINE = 76  # where base64(1) breaks its lines
PERCENT = re.compile("%[0-9A-F]{2}")

Piece = tuple[str, bytes]  # (stream, redacted bytes)


@dataclass(frozen=True, slots=True)
class Held:
    """The end of a stream that may be the beginning of a secret.

    The first `covered` bytes already stand behind a replacement; `t` is the time of the first byte.
    """

    data: bytes
    covered: int
    t: int


@dataclass(frozen=True, slots=True)
class State:
    """What is held of each stream. Its JSON has pieces of secrets in it: encrypt it at rest."""

    held: dict[str, Held] = field(default_factory=dict)

    def to_json(self) -> dict[str, list[Any]]:
        return {
            stream: [base64.b64encode(held.data).decode(), held.covered, held.t] for stream, held in self.held.items()
        }

    @classmethod
    def from_json(cls, value: Mapping[str, list[Any]]) -> "State":
        return cls({stream: Held(base64.b64decode(data), covered, t) for stream, (data, covered, t) in value.items()})


class Redactor:
    """Finds the values of `secrets` (name -> value) and their usual encodings.

    `feed`, `tick` and `end` return the pieces to store, in order, and the next state. Every found
    needle becomes `[NAME redacted]`; needles that overlap become one, named after the first.
    """

    def __init__(self, secrets: Mapping[str, str]) -> None:
        named: dict[bytes, str] = {}
        for name, value in secrets.items():
            for needle in needles(value):
                named.setdefault(needle, name)
        self.needles = sorted(named, key=len, reverse=True)
        self.labels = [f"[{named[needle]} redacted]".encode() for needle in self.needles]
        self.heads: dict[bytes, list[bytes]] = {}  # first bytes -> needles
        for needle in self.needles:
            self.heads.setdefault(needle[:SHORTEST], []).append(needle)
        self.stubs = {head[:size] for head in self.heads for size in range(1, SHORTEST)}
        self.longest = len(self.needles[0]) if self.needles else 0
        self.search = BytesAhoCorasick(self.needles)
        self.head_search = BytesAhoCorasick(list(self.heads))

    def feed(self, state: State, stream: str, t: int, data: bytes) -> tuple[list[Piece], State]:
        """One record of the spool, `t` in ms; what other streams held too long comes first."""
        if not self.needles:
            return [(stream, data)] if data else [], state
        pieces, state = self.tick(state, t)
        old = state.held.get(stream, Held(b"", 0, t))
        buffer = old.data + data
        keep = self._hold_from(buffer)
        out, covered = self._replace(buffer, old.covered, keep)
        held = {name: value for name, value in state.held.items() if name != stream}
        if keep < len(buffer):
            held[stream] = Held(buffer[keep:], covered, old.t if keep < len(old.data) else t)
        return pieces + ([(stream, out)] if out else []), replace(state, held=held)

    def tick(self, state: State, t: int) -> tuple[list[Piece], State]:
        """Time has come to `t` ms: let go what has been held for 250 ms."""
        if not state.held:
            return [], state
        due = {stream: held for stream, held in state.held.items() if held.t + HOLD_MS <= t}
        left = {stream: held for stream, held in state.held.items() if stream not in due}
        return self._let_go(due), replace(state, held=left)

    def end(self, state: State) -> tuple[list[Piece], State]:
        """The spool is complete: nothing stays held."""
        return self._let_go(state.held), State()

    def redact(self, data: bytes) -> bytes:
        """All at once."""
        return self._replace(data, 0, len(data))[0] if self.needles else data

    def redact_text(self, text: str) -> str:
        """The same for a message or an error."""
        return self.redact(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")

    def found(self, text: str) -> list[str]:
        """The names of the secrets that are in a text."""
        if not self.needles:
            return []
        data = text.encode("utf-8", "surrogatepass")
        return [label.decode()[1:].removesuffix(" redacted]") for _, _, label in self._regions(data, 0) if label]

    def _let_go(self, held: Mapping[str, Held]) -> list[Piece]:
        pieces = [(stream, self._replace(one.data, one.covered, len(one.data))[0]) for stream, one in held.items()]
        return [piece for piece in pieces if piece[1]]

    def _hold_from(self, buffer: bytes) -> int:
        """Where the longest end of the buffer begins that is a proper beginning of a needle."""
        base = max(0, len(buffer) - self.longest + 1)
        tail = buffer[base:]
        for _, start, _ in self.head_search.find_matches_as_indexes(tail, overlapping=True):
            rest = tail[start:]
            if any(len(rest) < len(needle) and needle.startswith(rest) for needle in self.heads[rest[:SHORTEST]]):
                return base + start
        for size in range(min(SHORTEST - 1, len(tail)), 0, -1):
            if tail[-size:] in self.stubs:
                return len(buffer) - size
        return len(buffer)

    def _replace(self, buffer: bytes, covered: int, until: int) -> tuple[bytes, int]:
        """Redact what begins before `until`; also how many bytes after it are replaced already."""
        out, position = [], covered
        for start, end, label in self._regions(buffer, covered):
            if start >= until:
                break
            if label:
                out += [buffer[position:start], label]
            position = end
        out.append(buffer[position:until])
        return b"".join(out), max(0, position - until)

    def _regions(self, buffer: bytes, covered: int) -> Iterator[tuple[int, int, bytes]]:
        """(start, end, label) of matches, overlapping ones joined; the label of an older one is empty."""
        first, last, label = 0, covered, b""
        matches = self.search.find_matches_as_indexes(buffer, overlapping=True)
        for start, end, index in sorted((start, -end, index) for index, start, end in matches):
            if start >= last:
                if last:
                    yield first, last, label
                first, label = start, self.labels[index]
            last = max(last, -end)
        if last:
            yield first, last, label


def redact_spool(lines: Iterable[bytes], redactor: Redactor) -> dict[str, bytes]:
    """What must be stored of a whole spool, by stream: the measure that tests compare with."""
    state, stored = State(), dict[str, bytearray]()
    for line in lines:
        pieces, state = step(redactor, state, json.loads(line))
        for stream, data in pieces:
            stored.setdefault(stream, bytearray()).extend(data)
    for stream, data in redactor.end(state)[0]:
        stored.setdefault(stream, bytearray()).extend(data)
    return {stream: bytes(data) for stream, data in stored.items()}


def step(redactor: Redactor, state: State, record: dict[str, Any]) -> tuple[list[Piece], State]:
    """One line of a spool: what is to be stored now, and what is held."""
    if "data" in record:
        return redactor.feed(state, record["stream"], record["t"], binascii.a2b_base64(record["data"]))
    return redactor.tick(state, record["tick"]) if "tick" in record else ([], state)


# --- the encodings of a value ---


def needles(value: str) -> set[bytes]:
    """What to look for: the value, the long lines of it, and how programs usually write them."""
    if len(value.strip()) < SHORTEST:
        return set()
    forms = {value, value.strip()}
    forms.update(line for line in map(str.strip, value.splitlines()) if _is_telling(line))
    found = {needle for form in forms for needle in _encodings(form)}
    return {needle for needle in found if len(needle) >= SHORTEST}


def _is_telling(line: str) -> bool:
    return len(line) >= SHORTEST_LINE and not line.startswith("-----")  # BEGIN and END are no secret


def _encodings(form: str) -> Iterator[bytes]:
    raw = form.encode("utf-8", "surrogatepass")
    yield raw
    yield raw.hex().encode()
    yield raw.hex().upper().encode()
    yield from _base64(raw)
    for text in {*_percent(raw), *_escaped(form)}:
        yield text.encode("utf-8", "surrogatepass")


def _base64(raw: bytes) -> Iterator[bytes]:
    """At the three alignments: what no neighbour changes, the same with its padded end, long lines."""
    for offset, skip in enumerate((0, 2, 3)):
        plain = base64.b64encode(b"\0" * offset + raw)
        for code in (plain, plain.translate(bytes.maketrans(b"+/", b"-_"))):
            core = code[skip : (offset + len(raw)) * 8 // 6]
            yield from (core, code[skip:], code[skip:].rstrip(b"="))
            if offset == 0 and len(core) > MIME_LINE:
                yield from (core[at : at + MIME_LINE] for at in range(0, len(core) - SHORTEST_LINE, MIME_LINE))


def _percent(raw: bytes) -> Iterator[str]:
    for text in (quote(raw, safe=""), quote(raw), quote_plus(raw)):
        yield from (text, PERCENT.sub(lambda code: code[0].lower(), text))


def _escaped(form: str) -> Iterator[str]:
    """JSON (also inside JSON, as in an agent's event stream), shell words, HTML."""
    for ascii_only in (True, False):
        once = json.dumps(form, ensure_ascii=ascii_only)[1:-1]
        yield from (once, once.replace("/", "\\/"), json.dumps(once)[1:-1], json.dumps(once, ensure_ascii=False)[1:-1])
    yield from (form.replace("'", "'\"'\"'"), form.replace("'", "'\\''"), html.escape(form))
