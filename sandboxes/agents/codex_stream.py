"""Codex's JSON lines as our events, seen with 0.169.0; items that it did not show are read by their published form.

What it keeps in the job's state: "thread" (its id), "calls" (ms at which an item began, by its id), "lists" (how
often a to-do list was told) and "kept" (what the thread counts on from after an early end). Its counts are those of
the whole thread, so the state's "baseline" is taken off.
"""

import json
import re
import shlex
from collections.abc import Iterator
from typing import Any

from .access import bare_name
from .base import Event
from .verdicts import status_in

# The first is asked for where nobody chose another.
MODELS = ("gpt-6.1-sol", "gpt-6.1-terra", "gpt-6-astra", "gpt-6-luna", "gpt-5.5")
# Tokens as it counts them; its input has what was cached in it, its output the reasoning.
COUNTS = (
    "input_tokens",
    "cached_input_tokens",
    "cache_write_input_tokens",
    "output_tokens",
    "reasoning_output_tokens",
)
RETRY = re.compile(r"Reconnecting\.\.\. (\d+)/(\d+)(?: \((.*)\))?", re.DOTALL)
TOOLS = ("command_execution", "file_change", "mcp_tool_call", "collab_tool_call", "web_search")
SHELL = re.compile(r"(/\S*/)?(bash|zsh|sh) -l?c")
RAW_CHARS = 4000


def events(state: dict[str, Any], line: dict[str, Any], t: int) -> Iterator[Event]:
    """Our events for one line; see `base.Agent.parse`."""
    kind = line.get("type")
    if kind == "thread.started":
        state["thread"] = line["thread_id"]
        yield Event("session", {"id": line["thread_id"], "model": _model(state), "version": ""})
    elif kind in ("item.started", "item.updated", "item.completed"):
        yield from _item(state, line["item"], kind.removeprefix("item."), t)
    elif kind == "error":
        yield _error(line["message"])
    elif kind == "turn.completed":
        yield from _completed(state, line["usage"])
    elif kind == "turn.failed":
        yield _end(state, ok=False, text=line["error"]["message"])
    elif kind in ("event_msg", "token_usage_record"):
        yield from _logged(state, line["payload"])
    elif kind != "turn.started":
        yield _raw(line)


def _model(state: dict[str, Any]) -> str:
    """It never says the model, so it is the one that was asked for."""
    return bare_name(str(state.get("model") or MODELS[0]))


def _error(text: str) -> Event:
    if found := RETRY.match(text):
        said = found[3] or "no answer, or one that broke off"
        retry = {"attempt": int(found[1]), "of": int(found[2]), "wait_ms": None, "status": status_in(said)}
        return Event("retry", retry | {"text": said})
    return Event("error", {"text": text, "status": status_in(text), "fatal": True})


# --- items -------------------------------------------------------------------------------------


def _item(state: dict[str, Any], item: dict[str, Any], stage: str, t: int) -> Iterator[Event]:
    kind = item["type"]
    if kind in TOOLS:
        yield from _tool(state, item, stage, t)
    elif kind == "todo_list":
        yield from _list(state, item, stage)
    elif stage != "completed":
        return
    elif kind in ("agent_message", "plan"):
        yield Event("text", {"text": item["text"]})
    elif kind == "reasoning":
        yield Event("thinking", {"text": item["text"]})
    elif kind == "error":
        # Of a model that it does not know, or of one that is not the session's: it goes on.
        yield Event("error", {"text": item["message"], "status": None, "fatal": False})
    else:
        yield _raw(item)


def _tool(state: dict[str, Any], item: dict[str, Any], stage: str, t: int) -> Iterator[Event]:
    began = state.setdefault("calls", {})
    if item["id"] not in began:
        began[item["id"]] = t
        yield Event("tool_call", {"id": item["id"], "name": _name(item), "input": _input(item)})
    if stage == "completed":
        since = began.pop(item["id"])
        failed = item.get("status") in ("failed", "declined")
        data = {"id": item["id"], "output": _output(item), "error": failed, "exit": item.get("exit_code")}
        yield Event("tool_result", data | {"seconds": (t - since) / 1000})


def _name(item: dict[str, Any]) -> str:
    if item["type"] == "mcp_tool_call":
        return f"{item['server']}.{item['tool']}"
    return str(item["tool"] if item["type"] == "collab_tool_call" else item["type"])


def _input(item: dict[str, Any]) -> dict[str, Any]:
    if item["type"] == "mcp_tool_call":
        arguments = item.get("arguments")
        return arguments if isinstance(arguments, dict) else {"arguments": arguments}
    names = ("command", "changes", "query", "action", "prompt", "receiver_thread_ids")
    told = {name: item[name] for name in names if item.get(name)}
    return told | {"command": _unwrapped(told["command"])} if "command" in told else told


def _unwrapped(command: str) -> str:
    """What the model asked for: Codex shows the shell that it starts for it."""
    try:
        words = shlex.split(command)
    except ValueError:
        return command
    return words[2] if len(words) == 3 and SHELL.fullmatch(" ".join(words[:2])) else command


def _output(item: dict[str, Any]) -> str:
    if item["type"] == "command_execution":
        return str(item.get("aggregated_output") or "")
    if item["type"] == "mcp_tool_call":
        return _answer(item)
    if item["type"] == "file_change":
        return "\n".join(f"{change['kind']} {change['path']}" for change in item["changes"])
    states = (item.get("agents_states") or {}).values()
    return "\n".join(str(one.get("message") or one["status"]) for one in states)


def _answer(item: dict[str, Any]) -> str:
    if item.get("error"):
        return str(item["error"]["message"])
    parts = (item.get("result") or {}).get("content") or []
    return "\n".join(str(part.get("text", f"[{part.get('type')}]")) for part in parts)


def _list(state: dict[str, Any], item: dict[str, Any], stage: str) -> Iterator[Event]:
    """A to-do list is called anew whenever it changes; its end repeats what it was."""
    if stage != "completed":
        state["lists"] = state.get("lists", 0) + 1
        identity = f"{item['id']}-{state['lists']}"
        yield Event("tool_call", {"id": identity, "name": "todo_list", "input": {"items": item["items"]}})
        yield Event("tool_result", {"id": identity, "output": "", "error": False, "exit": None, "seconds": 0.0})


# --- the end -----------------------------------------------------------------------------------


def _completed(state: dict[str, Any], usage: dict[str, Any]) -> Iterator[Event]:
    counted = {name: _count(usage.get(name)) for name in COUNTS}
    before = state.get("baseline") or {}
    if state.get("session") not in ("", None, state.get("thread")) or _fell(counted, before):
        # Another thread, or one that counts anew.
        before = {}
    grown = {name: counted[name] - _count(before.get(name)) for name in COUNTS}
    if any(grown.values()):
        yield Event("usage", {"model": _model(state), **_tokens(grown)})
    yield _end(state, ok=True, text="", baseline=counted)


def _logged(state: dict[str, Any], payload: dict[str, Any]) -> Iterator[Event]:
    """Two lines of the session's log behind a run that ended early: what the thread will count on from, and the turn's.

    The thread has forgotten the call that was cut off, so both are needed.
    """
    if payload.get("type") == "token_count":
        state["kept"] = {name: _count(payload["info"]["total_token_usage"].get(name)) for name in COUNTS}
    elif payload["thread_id"] == state.get("thread"):
        counts = {name: _count(payload["turn_token_usage"].get(name)) for name in COUNTS}
        yield Event("usage", {"model": _model(state), **_tokens(counts), "baseline": state.get("kept", {})})


def _fell(counted: dict[str, int], before: dict[str, Any]) -> bool:
    return any(number < _count(before.get(name)) for name, number in counted.items())


def _tokens(counts: dict[str, int]) -> dict[str, int]:
    read, written = counts["cached_input_tokens"], counts["cache_write_input_tokens"]
    return {
        "input": max(0, counts["input_tokens"] - read - written),
        "output": counts["output_tokens"],
        "cache_read": read,
        "cache_write": written,
        "reasoning": counts["reasoning_output_tokens"],
    }


def _end(state: dict[str, Any], *, ok: bool, text: str, baseline: dict[str, int] | None = None) -> Event:
    reason = "completed" if ok else "failed"
    status = None if ok else status_in(text)
    return Event("end", {"ok": ok, "text": text, "reason": reason, "status": status, "baseline": baseline or {}})


def _count(value: Any) -> int:
    """A number of tokens; what is none counts as 0."""
    return value if type(value) is int and 0 <= value < 10**12 else 0


def _raw(line: dict[str, Any]) -> Event:
    text = json.dumps(line)
    return Event("raw", {"text": text[:RAW_CHARS], "bytes": len(text)})
