"""Events of a conversation as a terminal shows them: text, each tool call with what came of it, retries, errors."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from codecourier import code

from .conversation import tools
from .metering import BILLED

# Of what a tool gave; all of it is in the portal and in --json.
RESULT_LINES, LINE_CHARS = 12, 200


def lines(kind: str, data: dict[str, Any]) -> list[str]:
    """What is shown of an event, without line ends; nothing for those that only machines want."""
    show = SHOWN.get(kind)
    return show(data) if show else []


def _text(data: dict[str, Any]) -> list[str]:
    return ["", *_plain(data.get("text")), ""]


def _thinking(data: dict[str, Any]) -> list[str]:
    return [f"~ {line}" for line in _plain(data.get("text"))]


def _call(data: dict[str, Any]) -> list[str]:
    name, about = one_line(data.get("name") or "tool"), one_line(tools.telling(data.get("input")))
    return [f"$ {about}" if tools.icon(name) == "terminal-2" else f"> {name} {about}".rstrip()]


def _result(data: dict[str, Any]) -> list[str]:
    given = _plain(data.get("output"))
    shown = [f"  {one_line(line)}" for line in given[:RESULT_LINES]]
    if len(given) > RESULT_LINES:
        shown.append(f"  … {len(given) - RESULT_LINES} more lines")
    if data.get("exit"):
        shown.append(f"  exit status {one_line(data['exit'])}")
    elif data.get("error"):
        shown.append("  failed")
    return shown


def _retry(data: dict[str, Any]) -> list[str]:
    why = f" after {one_line(data['status'])}" if data.get("status") else ""
    waits = data.get("wait_ms")
    wait = f" in {waits / 1000:.0f} s" if isinstance(waits, int | float) and waits >= 1000 else ""
    of = f" of {one_line(data['of'])}" if data.get("of") else ""
    return [f"! The model is asked again{why}{wait} ({one_line(data.get('attempt') or '?')}{of})"]


def _error(data: dict[str, Any]) -> list[str]:
    return [f"! {line}" for line in _plain(data.get("text"))]


SHOWN: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    "text": _text,
    "thinking": _thinking,
    "tool_call": _call,
    "tool_result": _result,
    "retry": _retry,
    "error": _error,
}


def _plain(text: Any) -> list[str]:
    """An agent's words as lines, without anything that a terminal would obey."""
    return code.plain(str(text or "")).strip("\n").split("\n") if text else []


def one_line(text: Any) -> str:
    """Anything as one line that a terminal may show, not too long."""
    line = code.plain(" ".join(str(text).split()))
    return line if len(line) <= LINE_CHARS else line[: LINE_CHARS - 1] + "…"


def tokens(usage: dict[str, dict[str, int]] | None) -> str:
    """What a turn used, as in `Turn.usage`."""
    if usage is None:
        return "tokens unknown"
    count = {name: sum(model[name] for model in usage.values()) for name in BILLED}
    taken = count["input"] + count["cache_read"] + count["cache_write"]
    return f"{taken:,} tokens in ({count['cache_read']:,} cached), {count['output']:,} out"


def price(record: dict[str, Any]) -> str:
    """What a record says of its cost."""
    least = "" if record["cost_complete"] else "at least "
    amount = f"{least}{Decimal(record['cost']):.4f} USD" if record["cost"] is not None else ""
    return ", ".join(filter(None, [amount, *(f"no rate for {name}" for name in record["unpriced"])]))
