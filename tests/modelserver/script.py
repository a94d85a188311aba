"""What a prompt asks the model to do: directives in double brackets, grouped into one step per model call."""

import re
from dataclasses import dataclass, field, replace

DIRECTIVE = re.compile(r"\[\[(\w+)(?::\s*(.*?))?\s*\]\]", re.DOTALL)
# How the portal asks for an answer once more (`sandboxes.contracts`).
MENDS = "Your answer can't be used:"
FAILURES = ("fail", "cut", "stall", "hang", "broken")
ACTIONS = ("shell", "write", "tool")


@dataclass(frozen=True)
class Failure:
    """What goes wrong instead of an answer, and how often (None: always)."""

    kind: str
    status: int = 0
    times: int | None = None


@dataclass(frozen=True)
class Step:
    """One model call's answer: thinking, text, then a tool call or the end of the turn."""

    thinking: str = ""
    text: str = ""
    action: tuple[str, str] | None = None  # directive and argument
    pause_ms: int = 0
    failures: tuple[Failure, ...] = field(default=())


def scripted(text: str) -> bool:
    """Whether a text holds directives."""
    return bool(DIRECTIVE.search(text))


def asked(text: str, before: str) -> str | None:
    """The prompt that a user's text stands for: itself, or what `before` has after `[[mend]]` when an answer is asked
    for once more; None for a text that asks for nothing."""
    if scripted(text):
        return text
    return before.partition("[[mend]]")[2] if MENDS in text and "[[mend]]" in before else None


def steps(prompt: str) -> list[Step]:
    """The steps of a prompt; the last one always ends the turn."""
    done: list[Step] = []
    step = Step()
    for word, argument in DIRECTIVE.findall(prompt):
        step = _grown(step, word, argument)
        if word == "say":
            return [*done, step]
        if word in ACTIONS:
            done.append(step)
            step = Step(pause_ms=step.pause_ms)
    return [*done, replace(step, text=step.text or "Done.")]


def _grown(step: Step, word: str, argument: str) -> Step:
    if word in ("say", "note"):
        return replace(step, text=argument)
    if word == "think":
        return replace(step, thinking=argument)
    if word == "slow":
        return replace(step, pause_ms=int(argument))
    if word in FAILURES:
        return replace(step, failures=(*step.failures, _failure(word, argument)))
    if word in ACTIONS:
        return replace(step, action=(word, argument))
    raise ValueError(f"There is no directive {word!r}.")


def _failure(kind: str, argument: str) -> Failure:
    """From `529`, `529 once`, `once` or `529 3 times`."""
    words = argument.split()
    status = int(words.pop(0)) if kind == "fail" else 0
    if not words:
        return Failure(kind, status)
    return Failure(kind, status, 1 if words[0] == "once" else int(words[0]))
