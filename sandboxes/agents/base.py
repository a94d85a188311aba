"""What every agent module offers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Command:
    """What the courier is asked to run: argv, files written before (absolute path to bytes), plain environment."""

    argv: tuple[str, ...]
    files: Mapping[str, bytes] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Exit:
    """How a command ended, from the spool's exit record."""

    code: int | None
    signal: int | None
    reason: str  # empty when it came to its own end


@dataclass(frozen=True)
class Verdict:
    """How a turn ended: a status of `Turn`, a reason and a sentence."""

    status: str
    reason: str = ""
    detail: str = ""


class Agent(Protocol):
    """One CLI."""

    check: str
    """A shell line that prints its version and fails where it can't run."""

    def turn(self, prompt: str, folder: str) -> Command:
        """The command of one turn; its own files go into `folder`."""

    def judge(self, ended: Exit) -> Verdict:
        """What became of a turn that came to its own end."""
