"""An agent whose JSON lines are our events already, for tests of what carries them."""

from collections.abc import Iterator
from typing import Any

from sandboxes.agents.base import Event
from sandboxes.agents.script import Script


class Plain(Script):
    """`{"kind": ..., "data": {...}}` is an event; `count` is one that numbers itself; anything else is a fault."""

    structured = True

    def parse(self, state: dict[str, Any], line: dict[str, Any], t: int) -> Iterator[Event]:
        if line["kind"] == "count":
            state["count"] = state.get("count", 0) + 1
            yield Event("text", {"text": str(state["count"])})
        else:
            yield Event(line["kind"], line["data"])
