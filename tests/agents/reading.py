"""Reading a captured stdout the way the relay does."""

from pathlib import Path
from typing import Any

from codecourier.redact import Redactor
from sandboxes.agents import AGENTS
from sandboxes.transcript import EventRow, Transcript

CAPTURES = Path(__file__).parent / "captures"
TOKENS = ("input", "output", "cache_read", "cache_write", "reasoning")


def captured(name: str) -> bytes:
    """The stdout of a real CLI, trimmed to what its parser reads."""
    return (CAPTURES / f"{name}.jsonl").read_bytes()


def fresh(tool: str, context: dict[str, Any] | None = None) -> Transcript:
    """A transcript that has read nothing."""
    return Transcript(AGENTS[tool], Redactor({}), context or {"session": "", "baseline": {}})


def read(tool: str, *parts: bytes, context: dict[str, Any] | None = None) -> list[EventRow]:
    """The events of a stdout that comes in these parts."""
    made = fresh(tool, context)
    for part in parts:
        made.take(0, part)
    made.end(0)
    return made.rows


def of_kind(rows: list[EventRow], kind: str) -> list[dict[str, Any]]:
    """The data of one kind of event."""
    return [row.data for row in rows if row.kind == kind]


def used(rows: list[EventRow]) -> dict[str, dict[str, int]]:
    """Tokens by model, summed over the usage events."""
    sums: dict[str, dict[str, int]] = {}
    for data in of_kind(rows, "usage"):
        tokens = sums.setdefault(data["model"], dict.fromkeys(TOKENS, 0))
        for name in TOKENS:
            tokens[name] += data[name]
    return sums
