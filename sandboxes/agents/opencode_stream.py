"""OpenCode's JSON lines as our events, seen with 1.18.33.

It begins and ends without a word: the session is told by whatever comes first, the end by an answer that calls no
more tools. What it keeps in the job's state: "begun" (its session).
"""

import json
from collections.abc import Iterator
from typing import Any

from .access import bare_name
from .base import Event
from .verdicts import status_in

RAW_CHARS = 4000


def events(state: dict[str, Any], line: dict[str, Any], t: int) -> Iterator[Event]:
    """Our events for one line; see `base.Agent.parse`."""
    session = line.get("sessionID")
    if isinstance(session, str) and state.get("begun") != session:
        state["begun"] = session
        yield Event("session", {"id": session, "model": _model(state), "version": ""})
    kind = line.get("type")
    if kind == "error":
        yield Event("error", _error(line["error"]))
    elif kind == "step_finish":
        yield from _finished(state, line["part"])
    elif kind in ("text", "reasoning", "tool_use"):
        yield from _part(kind, line["part"])
    elif kind != "step_start":
        yield _raw(line)


def _model(state: dict[str, Any]) -> str:
    """It never says the model, so it is the one that was asked for."""
    return bare_name(str(state.get("model") or ""))


def _part(kind: str, part: dict[str, Any]) -> Iterator[Event]:
    """Parts come when they are complete."""
    if kind == "tool_use":
        yield Event("tool_call", {"id": part["callID"], "name": part["tool"], "input": part["state"]["input"]})
        yield Event("tool_result", _result(part["callID"], part["state"]))
    else:
        yield Event("thinking" if kind == "reasoning" else "text", {"text": part["text"]})


def _result(call: str, state: dict[str, Any]) -> dict[str, Any]:
    failed = state["status"] == "error"
    time = state.get("time") or {}
    return {
        "id": call,
        "output": str(state.get("error" if failed else "output") or ""),
        "error": failed,
        "exit": (state.get("metadata") or {}).get("exit"),
        "seconds": (time["end"] - time["start"]) / 1000 if "end" in time else None,
    }


def _finished(state: dict[str, Any], part: dict[str, Any]) -> Iterator[Event]:
    """The end of one answer of the model, with its tokens."""
    tokens = part.get("tokens") or {}
    cache = tokens.get("cache") or {}
    reasoning = _count(tokens.get("reasoning"))
    counts = {
        "input": _count(tokens.get("input")),
        "output": _count(tokens.get("output")) + reasoning,
        "cache_read": _count(cache.get("read")),
        "cache_write": _count(cache.get("write")),
        "reasoning": reasoning,
    }
    if any(counts.values()):
        yield Event("usage", {"model": _model(state), **counts})
    if part["reason"] != "tool-calls":
        ok = part["reason"] in ("stop", "length")
        yield Event("end", {"ok": ok, "text": "", "reason": part["reason"], "status": None, "baseline": {}})


def _count(value: Any) -> int:
    """A number of tokens; what is none counts as 0."""
    return value if type(value) is int and 0 <= value < 10**12 else 0


def _error(error: dict[str, Any]) -> dict[str, Any]:
    data = error.get("data") or {}
    text = str(data.get("message") or error.get("message") or error["name"])
    status = data.get("statusCode")
    return {"text": text, "status": status or status_in(text), "fatal": True, "name": error["name"]}


def _raw(line: dict[str, Any]) -> Event:
    text = json.dumps(line)
    return Event("raw", {"text": text[:RAW_CHARS], "bytes": len(text)})
