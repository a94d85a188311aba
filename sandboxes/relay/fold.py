"""A fold over a job's spool: lines in, rows to store out, and a cursor that says how far it got.

Stored is `redact(spool)` up to the cap. Cursor and rows are written in one transaction, so whoever goes on from the
cursor, here or in another relay, repeats nothing and leaves nothing out.
"""

import json
from dataclasses import dataclass, field, replace

from codecourier.redact import Piece, Redactor, State
from sandboxes.courier import BadLine, Exit, Heartbeat, Record, Tick, parse
from sandboxes.models import Output
from sandboxes.transcript import EventRow, Transcript

STREAMS = {"stdout": Output.Stream.STDOUT, "stderr": Output.Stream.STDERR, "pty": Output.Stream.PTY}
NOTE = Output.Stream.NOTE
# A row takes up what one stream printed between two flushes, up to this.
ROW_BYTES = 64 * 1024
LONGEST_LINE = 2 * 2**20
# What `follow` says instead of the spool when it can't go on; never counted, as it isn't part of the spool.
REFUSAL = b'{"error":'


class Endless(ValueError):
    """A line that no courier writes: its end doesn't come."""


@dataclass(frozen=True)
class Cursor:
    """How far a job's spool is stored, and what the fold needs to go on.

    `offset` and `spool_seq` count bytes and records of the spool, `seq` stored rows, `bytes` and `lines` what was
    printed, `stored` what was kept of it.
    """

    offset: int = 0
    spool_seq: int = 0
    seq: int = 0
    lines: int = 0
    bytes: int = 0
    stored: int = 0
    capped: bool = False
    state: State = field(default_factory=State)
    transcript: str = ""

    def dump(self) -> str:
        """What has no column of its own, as JSON; empty when there is nothing. May hold a piece of a secret."""
        value = {"stored": self.stored, "held": self.state.to_json(), "transcript": self.transcript}
        return json.dumps(value) if any(value.values()) else ""

    @staticmethod
    def load(text: str) -> tuple[int, State, str]:
        """(stored, state, transcript) of a dump."""
        value = json.loads(text or "{}")
        return value.get("stored", 0), State.from_json(value.get("held", {})), value.get("transcript", "")


@dataclass
class Row:
    """A row to store; `data` grows until the row is cut into a batch."""

    seq: int
    t: int
    stream: int
    data: bytearray


@dataclass(frozen=True)
class Batch:
    """What one flush stores of a job: rows, events, the cursor behind them, and how the job ended if it has."""

    rows: list[Row]
    cursor: Cursor
    exit: Exit | None
    events: list[EventRow] = field(default_factory=list)
    draft: dict[str, str] = field(default_factory=dict)


class Fold:
    """One job's spool on its way into rows. `take` adds, `cut` gives what is to be stored, `stored` forgets it."""

    def __init__(self, cursor: Cursor, redactor: Redactor, cap: int, transcript: Transcript | None = None) -> None:
        self.cursor, self.redactor, self.cap, self.transcript = cursor, redactor, cap, transcript
        if transcript and cursor.transcript:
            transcript.load(cursor.transcript)
        self.rows: list[Row] = []
        self.size = 0
        self.exit: Exit | None = None
        self._part = self.refusal = b""
        self._cut = 0  # rows of the batch under way; they don't grow any more
        self._t = 0
        if not redactor.needles:
            # What was held for secrets that are no more would be overtaken by what follows it.
            self._pieces(*redactor.end(cursor.state))

    @property
    def dirty(self) -> bool:
        """Whether there is anything to store."""
        return bool(self.rows) or self.exit is not None or bool(self.transcript and self.transcript.rows)

    def rewind(self) -> None:
        """A new stream begins at the cursor: drop the line that the old one left unfinished."""
        self._part = self.refusal = b""

    def take(self, chunk: bytes) -> None:
        """The next bytes of the spool. Raises Endless."""
        *lines, self._part = (self._part + chunk).split(b"\n")
        if len(self._part) > LONGEST_LINE:
            raise Endless(f"a line of more than {LONGEST_LINE} bytes after byte {self.cursor.offset}")
        for line in lines:
            self._sort(line)

    def _sort(self, line: bytes) -> None:
        """A refusal is the courier's only as the last line of a stream; before another one it stood in the spool."""
        if self.refusal:
            self._line(self.refusal)
            self.refusal = b""
        if line.startswith(REFUSAL):
            self.refusal = line
        elif self.exit is None:
            self._line(line)

    def _line(self, line: bytes) -> None:
        try:
            parsed = parse(line)
        except BadLine:
            self._move(offset=self.cursor.offset + len(line) + 1)
            self._note("a damaged record was left out: something in the machine wrote into its output file")
            return
        if isinstance(parsed, Heartbeat):
            # All lines before it have come, so this is where we are, whatever the lengths said.
            self._move(offset=parsed.offset)
            return
        self._move(offset=self.cursor.offset + len(line) + 1)
        if isinstance(parsed, Tick):
            self._pieces(*self.redactor.tick(self.cursor.state, parsed.t))
        else:
            self._numbered(parsed)

    def _numbered(self, record: Record | Exit) -> None:
        missing = record.seq - self.cursor.spool_seq - 1
        if missing < 0:
            return
        if missing:
            self._note(f"{missing} records are missing here")
        self._move(spool_seq=record.seq)
        self._t = record.t
        if isinstance(record, Record):
            lines = self.cursor.lines + record.data.count(b"\n")
            self._move(bytes=self.cursor.bytes + len(record.data), lines=lines)
            self._pieces(*self.redactor.feed(self.cursor.state, record.stream, record.t, record.data))
        else:
            self._pieces(*self.redactor.end(self.cursor.state))
            if self.transcript:
                self.transcript.end(record.t)
            self.exit = record

    def _pieces(self, pieces: list[Piece], state: State) -> None:
        self._move(state=state)
        for stream, data in pieces:
            if self.transcript and stream == "stdout":
                self.transcript.take(self._t, data)
                self.size += len(data)
            self._store(STREAMS[stream], data)

    def _store(self, stream: int, data: bytes) -> None:
        room = self.cap - self.cursor.stored
        if room < len(data):
            data = data[: max(0, room)]
        self._move(stored=self.cursor.stored + len(data))
        if data:
            self._append(stream, data)
        self._cap()

    def _cap(self) -> None:
        """Say once that nothing more is kept."""
        if self.cursor.stored >= self.cap and not self.cursor.capped:
            self._move(capped=True)
            self._mark(f"only the first {self.cap // (1024 * 1024)} MB are stored; the rest is in the machine")

    def _note(self, text: str) -> None:
        """A line of our own; it counts towards the cap, or a spool full of nonsense would never reach it."""
        if not self.cursor.capped:
            self._mark(text)
            self._move(stored=self.cursor.stored + len(text))
            self._cap()

    def _mark(self, text: str) -> None:
        self._append(NOTE, f"[{text}]\n".encode())

    def _append(self, stream: int, data: bytes) -> None:
        """Into the last row if it is of this stream and not cut yet, the rest into rows of its own."""
        last = self.rows[-1] if len(self.rows) > self._cut else None
        fits = ROW_BYTES - len(last.data) if last and last.stream == stream else 0
        if last and fits:
            last.data += data[:fits]
        for start in range(fits, len(data), ROW_BYTES):
            self._move(seq=self.cursor.seq + 1)
            self.rows.append(Row(self.cursor.seq, self._t, stream, bytearray(data[start : start + ROW_BYTES])))
        self.size += len(data)

    def _move(self, **changes: object) -> None:
        self.cursor = replace(self.cursor, **changes)  # type: ignore[arg-type]

    def cut(self) -> Batch:
        """Everything so far, as one batch; asked again before `stored`, with what has come since."""
        self._cut = len(self.rows)
        if self.transcript is None:
            return Batch(self.rows[:], self.cursor, self.exit)
        self._move(transcript=self.transcript.dump())
        return Batch(self.rows[:], self.cursor, self.exit, self.transcript.rows[:], self.transcript.draft)

    def stored(self, batch: Batch) -> None:
        """The batch is in the database."""
        del self.rows[: len(batch.rows)]
        self._cut = 0
        self.size = sum(len(row.data) for row in self.rows)
        if self.transcript:
            del self.transcript.rows[: len(batch.events)]
            self.size += sum(event.size for event in self.transcript.rows)
