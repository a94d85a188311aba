"""A fold over a structured job's redacted stdout: bytes in, our events and the draft out.

Redaction of bytes comes first; it can't see a secret that an agent streams in pieces, so the texts are redacted once
more after the pieces are put together. Pure: what it needs to go on elsewhere is in `dump`.
"""

import base64
import json
import logging
import math
from dataclasses import dataclass
from typing import Any

from codecourier.redact import Redactor, State

from .agents import Agent, Event

logger = logging.getLogger(__name__)

# A longer line is kept as its beginning only; the output has it whole.
LINE_BYTES = 4 * 2**20
TEXT_CHARS, RAW_CHARS, DRAFT_CHARS = 512 * 1024, 4000, 64 * 1024
DEEPEST = 100
# These replace what streamed before them.
CLOSING = {"text", "thinking", "tool_call", "retry", "error", "end"}


@dataclass(frozen=True)
class EventRow:
    """An event on its way into the database."""

    seq: int
    t: int
    kind: str
    data: dict[str, Any]
    size: int = 0  # bytes of the line it came from, for whoever bounds what waits


class Transcript:
    """One job's events. `take` adds bytes, `rows` waits to be stored."""

    def __init__(self, agent: Agent, redactor: Redactor, context: dict[str, Any], seq: int = 0) -> None:
        self.agent, self.redactor, self.seq = agent, redactor, seq
        self.state: dict[str, Any] = json.loads(json.dumps(context))
        self.rows: list[EventRow] = []
        self.streaming: dict[str, str] = {}
        self._part = bytearray()
        self._left_out = 0

    def dump(self) -> str:
        """What `load` goes on from, as JSON. Pieces of what was printed are in it: encrypt it at rest."""
        part = base64.b64encode(self._part).decode()
        return json.dumps({"state": self.state, "part": part, "left_out": self._left_out, "streaming": self.streaming})

    def load(self, text: str) -> None:
        """Go on from where another one stopped."""
        value = json.loads(text)
        self.state, self.streaming = value["state"], value["streaming"]
        self._part, self._left_out = bytearray(base64.b64decode(value["part"])), value["left_out"]

    def take(self, t: int, data: bytes) -> None:
        """The next bytes of stdout, printed at `t` ms."""
        *whole, last = data.split(b"\n")
        for line in whole:
            self._grow(line)
            self._line(t)
        self._grow(last)

    def end(self, t: int) -> None:
        """The command is over: what came without a line end counts as a line, and nothing streams any more."""
        if self._part:
            self._line(t)
        self.streaming = {}

    def _grow(self, data: bytes) -> None:
        room = max(0, LINE_BYTES - len(self._part))
        self._part += data[:room]
        self._left_out += len(data) - len(data[:room])

    def _line(self, t: int) -> None:
        line, left_out = bytes(self._part), self._left_out
        self._part, self._left_out = bytearray(), 0
        if not line.strip():
            return
        value = None if left_out else parsed(line)
        events = self._events(value, t) if isinstance(value, dict) else None
        for event in [raw(line, left_out)] if events is None else events:
            self._store(event, t, len(line))

    def _events(self, value: dict[str, Any], t: int) -> list[Event] | None:
        """What the agent's parser makes of a line; None when it fails on it."""
        try:
            return list(self.agent.parse(self.state, value, t))
        except Exception:
            logger.warning("A line of %s was not understood", self.agent.name, exc_info=True)
            return None

    def _store(self, event: Event, t: int, size: int) -> None:
        if event.kind == "delta":
            self._stream(event.data)
            return
        if event.kind in CLOSING:
            self.streaming = {}
        self.seq += 1
        self.rows.append(EventRow(self.seq, t, event.kind, self._clean(event.data), size))

    def _stream(self, data: dict[str, Any]) -> None:
        kind, block = str(data.get("kind", "text")), str(data.get("block", ""))
        if (self.streaming.get("kind"), self.streaming.get("block")) != (kind, block):
            self.streaming = {"kind": kind, "block": block, "text": ""}
        self.streaming["text"] = (self.streaming["text"] + cleaned(str(data.get("text", ""))))[-DRAFT_CHARS:]

    @property
    def draft(self) -> dict[str, str]:
        """What streams right now, without an end that may be the beginning of a secret."""
        if not self.streaming:
            return {}
        pieces, _ = self.redactor.feed(State(), "draft", 0, self.streaming["text"].encode())
        return {**self.streaming, "text": b"".join(data for _, data in pieces).decode(errors="ignore")}

    def _clean(self, value: Any, depth: int = 0) -> Any:
        """JSON that the database takes, with texts redacted and bounded."""
        if isinstance(value, str):
            return shortened(self.redactor.redact_text(cleaned(value)))
        if isinstance(value, (dict, list)) and depth >= DEEPEST:
            return "[nested too deeply]"
        if isinstance(value, dict):
            return {self._clean(str(key)): self._clean(entry, depth + 1) for key, entry in value.items()}
        if isinstance(value, list):
            return [self._clean(entry, depth + 1) for entry in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value


def parsed(line: bytes) -> Any:
    """The JSON of a line, None for anything else."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def raw(line: bytes, left_out: int = 0) -> Event:
    """A line that nobody understood, by its beginning."""
    return Event("raw", {"text": line[:RAW_CHARS].decode(errors="replace"), "bytes": len(line) + left_out})


def cleaned(text: str) -> str:
    """Without what PostgreSQL refuses in JSON: NUL and lone surrogates."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def shortened(text: str) -> str:
    """Its beginning, with a note of what is missing."""
    if len(text) <= TEXT_CHARS:
        return text
    return f"{text[:TEXT_CHARS]}\n[{len(text) - TEXT_CHARS:,} more characters are in the output]"
