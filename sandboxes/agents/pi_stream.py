"""Pi's JSON lines as our events, seen with 1.5.2; the docs in its package list them all.

What it keeps in the job's state: "messages" (how many answers began), "told" (tokens of the latest that became
events), "speaks" (its model) and "last" (how the latest answer ended).
"""

import json
from collections.abc import Iterator
from typing import Any

from .access import bare_name
from .base import Event
from .verdicts import plain, status_in

TOKENS = {
    "input": "input",
    "output": "output",
    "cache_read": "cacheRead",
    "cache_write": "cacheWrite",
    "reasoning": "reasoning",
}
DELTAS = {"text_delta": "text", "thinking_delta": "thinking", "toolcall_delta": "tool_call"}
DONE = ("stop", "length", "toolUse")
# Lines that tell nothing beyond what the others tell.
NOISE = {
    "agent_start",
    "turn_start",
    "turn_end",
    "tool_execution_start",
    "tool_execution_update",
    "auto_retry_end",
    "queue_update",
    "entry_appended",
    "session_info_changed",
    "thinking_level_changed",
    "compaction_start",
    "summarization_retry_attempt_start",
    "summarization_retry_finished",
}
RAW_CHARS = 4000


def events(state: dict[str, Any], line: dict[str, Any], t: int) -> Iterator[Event]:
    """Our events for one line; see `base.Agent.parse`."""
    kind = line.get("type")
    if kind == "session":
        yield Event("session", {"id": line["id"], "model": bare_name(str(state.get("model") or "")), "version": ""})
    elif kind == "message_update":
        yield from _streamed(state, line)
    elif kind in ("message_start", "message_end"):
        yield from _message(state, line["message"], over=kind == "message_end")
    elif kind == "tool_execution_end":
        yield Event("tool_result", _result(line))
    else:
        yield from _around(state, line)


def _around(state: dict[str, Any], line: dict[str, Any]) -> Iterator[Event]:
    """What happens between the answers."""
    kind = line.get("type")
    if kind in ("auto_retry_start", "summarization_retry_scheduled"):
        yield Event("retry", _retry(line))
    elif kind == "compaction_end":
        yield from _used(state, {}, (line.get("result") or {}).get("usage") or {})
    elif kind == "agent_end":
        yield from _failure(state, line)
    elif kind == "agent_settled":
        yield _end(state, aborted=bool(line.get("aborted")))
    elif kind not in NOISE:
        yield _raw(line)


# --- what streams ------------------------------------------------------------------------------


def _streamed(state: dict[str, Any], line: dict[str, Any]) -> Iterator[Event]:
    """Deltas, and the tokens of an answer as soon as they are known."""
    update = line["assistantMessageEvent"]
    if update["type"] in DELTAS:
        block = f"{state.get('messages', 0)}:{update['contentIndex']}"
        yield Event("delta", {"kind": DELTAS[update["type"]], "block": block, "text": update["delta"]})
    yield from _grown(state, line.get("usage") or {})


def _grown(state: dict[str, Any], usage: dict[str, Any]) -> Iterator[Event]:
    """What an answer's counts have grown by: Pi's are totals of the answer, ours add up."""
    before = state.setdefault("told", {})
    yield from _used(state, before, usage)
    for name, field in TOKENS.items():
        before[name] = max(before.get(name, 0), _count(usage.get(field)))


def _used(state: dict[str, Any], before: dict[str, int], usage: dict[str, Any]) -> Iterator[Event]:
    """A usage event, unless there is nothing to tell."""
    grown = {name: max(0, _count(usage.get(field)) - before.get(name, 0)) for name, field in TOKENS.items()}
    if any(grown.values()):
        yield Event("usage", {"model": state.get("speaks", ""), **grown})


def _count(value: Any) -> int:
    """A number of tokens; what is none counts as 0."""
    return value if type(value) is int and 0 <= value < 10**12 else 0


# --- whole messages ----------------------------------------------------------------------------


def _message(state: dict[str, Any], message: dict[str, Any], *, over: bool) -> Iterator[Event]:
    if message["role"] != "assistant":
        return
    if not over:
        state.update(messages=state.get("messages", 0) + 1, told={}, speaks=message["model"])
        return
    yield from _grown(state, message.get("usage") or {})
    state["last"] = {"stop": message["stopReason"], "text": plain(message.get("errorMessage") or "")}
    # What a failed answer had begun is said again by the next one.
    for block in message["content"] if message["stopReason"] in DONE else []:
        yield _block(block)


def _block(block: dict[str, Any]) -> Event:
    kind = block["type"]
    if kind == "text":
        return Event("text", {"text": block["text"]})
    if kind == "thinking":
        return Event("thinking", {"text": block["thinking"]})
    if kind == "toolCall":
        return Event("tool_call", {"id": block["id"], "name": block["name"], "input": block["arguments"]})
    return _raw(block)


def _result(line: dict[str, Any]) -> dict[str, Any]:
    result, took = line["result"], line.get("durationMs")
    return {
        "id": line["toolCallId"],
        "output": "\n".join(str(part.get("text", f"[{part.get('type')}]")) for part in result["content"]),
        "error": bool(line.get("isError")),
        "exit": (result.get("structuredContent") or {}).get("exit_code"),
        "seconds": None if took is None else took / 1000,
    }


# --- retries and the end -----------------------------------------------------------------------


def _retry(line: dict[str, Any]) -> dict[str, Any]:
    text = plain(str(line.get("errorMessage") or ""))
    return {
        "attempt": line["attempt"],
        "of": line["maxAttempts"],
        "wait_ms": line["delayMs"],
        "status": status_in(text),
        "text": text,
    }


def _failure(state: dict[str, Any], line: dict[str, Any]) -> Iterator[Event]:
    """An answer that failed and is not asked for again."""
    last = state.get("last", {})
    if last.get("stop") == "error" and not line.get("willRetry"):
        yield Event("error", {"text": last["text"], "status": status_in(last["text"]), "fatal": True})


def _end(state: dict[str, Any], *, aborted: bool) -> Event:
    last = state.get("last", {})
    reason = "aborted" if aborted else str(last.get("stop", ""))
    text = str(last.get("text", ""))
    ok = reason in ("stop", "length")
    return Event("end", {"ok": ok, "text": text, "reason": reason, "status": status_in(text), "baseline": {}})


def _raw(line: dict[str, Any]) -> Event:
    text = json.dumps(line)
    return Event("raw", {"text": text[:RAW_CHARS], "bytes": len(text)})
