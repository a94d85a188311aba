"""What the three dialects have in common: what is read from a request, and what an answer is made of."""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from .script import Step
from .tools import Call, Tool


@dataclass(frozen=True)
class Usage:
    """Tokens of one call: `input` without what was cached, `output` with `reasoning`."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int = 0


@dataclass(frozen=True)
class Conversation:
    """What a request says: `prompt` is the last user text with directives, `done` the tool calls since it."""

    model: str
    prompt: str
    done: int
    tools: Mapping[str, Tool]
    stream: bool


@dataclass(frozen=True)
class Answer:
    """One model call's answer, to be put into a dialect."""

    model: str
    step: Step
    call: Call | None
    usage: Usage
    mark: str = field(default_factory=lambda: uuid.uuid4().hex[:24])


@dataclass(frozen=True)
class Frame:
    """One SSE event; `usage` is what the client has been told once it has this frame; `delta`: text has begun."""

    name: str
    data: dict[str, Any] | str
    usage: Usage | None = None
    delta: bool = False


class Dialect(Protocol):
    """One API, as its vendor publishes it."""

    writes_cache: bool
    """Whether its usage has a count of tokens written to the cache."""

    def read(self, body: dict[str, Any]) -> Conversation:
        """What a request's body says."""

    def frames(self, answer: Answer) -> Iterator[Frame]:
        """The answer as a stream."""

    def whole(self, answer: Answer) -> dict[str, Any]:
        """The answer as one object."""

    def error(self, status: int, kind: str, text: str) -> dict[str, Any]:
        """The body of a refusal; `kind` is one word of ours."""

    def broken(self) -> Frame:
        """An error inside a stream that began well."""


def pieces(text: str, size: int = 12) -> list[str]:
    """A text as it is streamed: a few characters at a time."""
    return [text[start : start + size] for start in range(0, len(text), size)]
