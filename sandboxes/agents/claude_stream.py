"""Claude Code's JSON lines as our events, seen with 2.1.330.

What it keeps in the job's state, all JSON: "begun" (session id), "told" (tokens of the latest messages by id, with
"model"), "sums" (tokens by model that became events), "counted" (the same as the CLI says), "partial" (whether the
final counts of a message did not come), "open" (the message that streams, by parent tool) and "calls" (ms at which a
tool call came, by its id).
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from .base import Event

TOKENS = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cache_read": "cache_read_input_tokens",
    "cache_write": "cache_creation_input_tokens",
}
TOTALS = {
    "input": "inputTokens",
    "output": "outputTokens",
    "cache_read": "cacheReadInputTokens",
    "cache_write": "cacheCreationInputTokens",
    "reasoning": "thinkingTokens",
}
DELTAS = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "thinking"),
    "input_json_delta": ("tool_call", "partial_json"),
}
# Lines that tell nothing beyond what the others tell.
NOISE = {"keep_alive", "tool_progress", "rate_limit_event", "prompt_suggestion", "tool_use_summary", "auth_status"}
SYSTEM_NOISE = {
    "status",
    "thinking_tokens",
    "hook_started",
    "hook_progress",
    "hook_response",
    "files_persisted",
    "task_started",
    "task_progress",
    "task_updated",
    "task_notification",
    "background_tasks_changed",
}
EXIT_CODE = re.compile(r"Exit code (\d{1,3})\b")
RAW_CHARS = 4000
# Messages whose counts may still grow; several stream at a time only with subagents.
LATEST = 16


def events(state: dict[str, Any], line: dict[str, Any], t: int) -> Iterator[Event]:
    """Our events for one line; see `base.Agent.parse`."""
    kind = line.get("type")
    if kind == "system":
        yield from _system(state, line)
    elif kind == "stream_event":
        yield from _streamed(state, line["event"], str(line.get("parent_tool_use_id") or ""))
    elif kind == "assistant":
        yield from _assistant(state, line, t)
    elif kind == "user":
        yield from _results(state, line["message"]["content"], t)
    elif kind == "result":
        yield from _result(state, line)
    elif kind not in NOISE:
        yield _raw(line)


def _system(state: dict[str, Any], line: dict[str, Any]) -> Iterator[Event]:
    subtype = line.get("subtype")
    if subtype == "init":
        # It begins again, in the same session, when a subagent in the background has something to say.
        if state.get("begun") != line["session_id"]:
            state["begun"] = line["session_id"]
            version = line.get("claude_code_version", "")
            yield Event("session", {"id": line["session_id"], "model": line["model"], "version": version})
    elif subtype == "api_retry":
        yield Event("retry", _retry(line))
    elif subtype not in SYSTEM_NOISE:
        yield _raw(line)


def _retry(line: dict[str, Any]) -> dict[str, Any]:
    text = str(line.get("error") or "unknown").replace("_", " ")
    return {
        "attempt": line["attempt"],
        "of": line["max_retries"],
        "wait_ms": line["retry_delay_ms"],
        "status": line.get("error_status"),
        "text": "no answer, or one that broke off" if text == "unknown" else text,
    }


# --- what streams ------------------------------------------------------------------------------


def _streamed(state: dict[str, Any], event: dict[str, Any], parent: str) -> Iterator[Event]:
    """Deltas, and the tokens of a message as soon as they are known."""
    streaming = state.setdefault("open", {})
    if event["type"] == "message_start":
        streaming[parent] = event["message"]["id"]
        yield from _told(state, event["message"]["id"], event["message"]["model"], event["message"]["usage"])
    elif event["type"] == "content_block_delta" and event["delta"]["type"] in DELTAS:
        kind, field = DELTAS[event["delta"]["type"]]
        block = f"{streaming.get(parent, '')}:{event['index']}"
        yield Event("delta", {"kind": kind, "block": block, "text": event["delta"][field]})
    elif event["type"] == "message_delta" and parent in streaming:
        yield from _told(state, streaming[parent], "", event.get("usage") or {})


def _told(state: dict[str, Any], message: str, model: str, usage: dict[str, Any]) -> Iterator[Event]:
    """What a message's counts have grown by: the vendor's are totals of the message, ours add up."""
    messages = state.setdefault("told", {})
    before = messages.pop(message, {"model": model})
    now = before | {name: _count(usage[field]) for name, field in TOKENS.items() if usage.get(field) is not None}
    if details := usage.get("output_tokens_details"):
        now["reasoning"] = _count(details.get("thinking_tokens"))
    if hour := _count((usage.get("cache_creation") or {}).get("ephemeral_1h_input_tokens")):
        now["cache_write_1h"] = hour
    messages[message] = now
    if len(messages) > LATEST:
        del messages[next(iter(messages))]
    names = [*TOTALS, *(["cache_write_1h"] if "cache_write_1h" in now else [])]
    yield from _used(state, now["model"], {name: now.get(name, 0) - before.get(name, 0) for name in names})


def _used(state: dict[str, Any], model: str, tokens: dict[str, int]) -> Iterator[Event]:
    """A usage event, unless there is nothing to tell."""
    grown = {name: max(0, number) for name, number in tokens.items()}
    if any(grown.values()):
        sums = state.setdefault("sums", {}).setdefault(model, dict.fromkeys(TOTALS, 0))
        for name, number in grown.items():
            sums[name] = sums.get(name, 0) + number
        yield Event("usage", {"model": model, **grown})


def _count(value: Any) -> int:
    """A number of tokens; what is none counts as 0."""
    return value if type(value) is int and 0 <= value < 10**12 else 0


# --- whole messages ----------------------------------------------------------------------------


def _assistant(state: dict[str, Any], line: dict[str, Any], t: int) -> Iterator[Event]:
    message = line["message"]
    if line.get("error"):
        text = "\n".join(str(block.get("text", "")) for block in message["content"])
        yield Event("error", {"text": text, "status": line.get("api_error_status"), "fatal": True})
        return
    if message["id"] not in state.get("told", {}):
        # It did not stream: a second try after a broken stream, or a subagent's, of which only the beginning is told.
        state["partial"] = state.get("partial", False) or message.get("stop_reason") is None
        yield from _told(state, message["id"], message["model"], message.get("usage") or {})
    for block in message["content"]:
        yield _block(state, block, t)


def _block(state: dict[str, Any], block: dict[str, Any], t: int) -> Event:
    kind = block["type"]
    if kind == "text":
        return Event("text", {"text": block["text"]})
    if kind == "thinking":
        return Event("thinking", {"text": block["thinking"]})
    if kind in ("tool_use", "server_tool_use"):
        state.setdefault("calls", {})[block["id"]] = t
        return Event("tool_call", {"id": block["id"], "name": block["name"], "input": block["input"]})
    return _raw(block)


def _results(state: dict[str, Any], content: Any, t: int) -> Iterator[Event]:
    """The results among a user message's blocks; its texts are what the CLI says to the model."""
    for block in content if isinstance(content, list) else []:
        if block.get("type") == "tool_result":
            output, failed = _text(block.get("content")), bool(block.get("is_error"))
            since = state.get("calls", {}).pop(block["tool_use_id"], None)
            code = EXIT_CODE.match(output) if failed else None
            data = {"id": block["tool_use_id"], "output": output, "error": failed, "exit": code and int(code[1])}
            yield Event("tool_result", data | {"seconds": None if since is None else (t - since) / 1000})


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(str(part.get("text", f"[{part.get('type')}]")) for part in content)
    return str(content or "")


# --- the end -----------------------------------------------------------------------------------


def _result(state: dict[str, Any], line: dict[str, Any]) -> Iterator[Event]:
    yield from _corrections(state, line)
    text = line.get("result") or "\n".join(map(str, line.get("errors") or []))
    yield Event(
        "end",
        {
            "ok": line.get("is_error") is False,
            "text": text,
            "reason": str(line.get("terminal_reason") or line.get("subtype") or ""),
            "status": line.get("api_error_status"),
            "baseline": {},
        },
    )


def _corrections(state: dict[str, Any], line: dict[str, Any]) -> Iterator[Event]:
    """What the CLI counted beyond what its lines told: calls of its own that it does not show.

    Of answers that broke off it guesses the output, so where every message told its counts the output stays as it is.
    """
    for model, totals in (line.get("model_usage_since_last_result") or {}).items():
        sums = state.setdefault("counted", {}).setdefault(model, dict.fromkeys(TOTALS, 0))
        for name, field in TOTALS.items():
            sums[name] += _count(totals.get(field))
    counted = state.get("counted", {})
    incomplete = state.get("partial") or _input(counted) > _input(state.get("sums", {}))
    names = tuple(TOTALS) if incomplete else ("reasoning",)
    for model, totals in counted.items():
        told = _told_of(state, model)
        yield from _used(state, model, dict.fromkeys(TOTALS, 0) | {name: totals[name] - told[name] for name in names})


def _input(sums: dict[str, dict[str, int]]) -> int:
    return sum(one[name] for one in sums.values() for name in ("input", "cache_read", "cache_write"))


def _told_of(state: dict[str, Any], model: str) -> dict[str, int]:
    """Sums of what came for a model; the vendor answers with its dated name, and `[1m]` is only the CLI's."""
    bare = re.escape(model.partition("[")[0])
    same = [sums for name, sums in state.get("sums", {}).items() if re.fullmatch(bare + r"([-@]\d{8})?", name)]
    return {name: sum(sums[name] for sums in same) for name in TOTALS}


def _raw(line: dict[str, Any]) -> Event:
    text = json.dumps(line)
    return Event("raw", {"text": text[:RAW_CHARS], "bytes": len(text)})
