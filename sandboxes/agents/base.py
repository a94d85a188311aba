"""What every agent module offers, and the plain data that goes in and out of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from personas.briefing import Briefing


@dataclass(frozen=True)
class Command:
    """What the courier is asked to run: argv, files written before (absolute path to bytes), plain environment.

    `secret_env` reaches the courier's process only: it is never part of a file, of argv or of a row.
    """

    argv: tuple[str, ...]
    files: Mapping[str, bytes] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    secret_env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Endpoint:
    """Where a provider's models answer, as the agent is to be told.

    An empty `base_url` means the vendor's own. `key` is a placeholder where the real one is added on the way out of
    the machine.
    """

    provider: str
    base_url: str
    key: str


@dataclass(frozen=True)
class Task:
    """One turn: what to do and with what. `session` is the CLI's own id of an earlier turn, empty for the first."""

    prompt: str
    folder: str  # the job's own, in the machine
    model: str = ""
    effort: str = ""  # low, medium, high, max; empty for the CLI's default
    session: str = ""
    fresh_id: str = ""  # a UUID for CLIs that take one for a new session
    system_prompt: str = ""
    endpoints: Mapping[str, Endpoint] = field(default_factory=dict)  # by provider
    attachments: tuple[str, ...] = ()  # absolute paths in the machine

    @property
    def message(self) -> str:
        """The prompt with the attached files named, as the agent is to read it."""
        if not self.attachments:
            return self.prompt
        return "\n".join([self.prompt, "", "Attached files:", *(f"- {path}" for path in self.attachments)])


@dataclass(frozen=True)
class Package:
    """How a CLI comes from npm. `programs` maps a command to its file below the installation's node_modules.

    With `pack`, the package's own archive is unpacked without its dependencies and run by Node.
    """

    npm: str
    version: str
    programs: Mapping[str, str]
    says: str  # regular expression that its --version must match
    pack: bool = False


@dataclass(frozen=True)
class Injection:
    """A briefing in a CLI's own form: files by absolute path in the machine, and (what, why not) for the rest."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    undelivered: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Event:
    """One thing an agent did or said; the kinds and their data:

    session {id, model, version}, text {text}, thinking {text}, tool_call {id, name, input},
    tool_result {id, output, error, exit, seconds}, usage {model, input, output, cache_read, cache_write, reasoning}
    (and cache_write_1h where a part of cache_write is kept for an hour), retry {attempt, of, wait_ms, status, text},
    error {text, status, fatal}, end {ok, text, reason, baseline}, raw {text, bytes}; and delta {kind, block, text},
    which grows the draft and is not stored.

    Usage counts tokens and is additive: `input` without what was cached, `output` with `reasoning`. Where a CLI ended
    without an end, its last usage may have the baseline.
    """

    kind: str
    data: dict[str, Any]


@dataclass(frozen=True)
class Exit:
    """How a command ended, from the spool's exit record."""

    code: int | None
    signal: int | None
    reason: str  # empty when it came to its own end


@dataclass(frozen=True)
class Found:
    """What a transcript says of the end: the closing event if there is one, errors in order, the tail of stderr."""

    end: dict[str, Any] | None = None
    errors: tuple[dict[str, Any], ...] = ()
    stderr: str = ""


@dataclass(frozen=True)
class Verdict:
    """How a turn ended: a status of `Turn`, a reason and a sentence."""

    status: str
    reason: str = ""
    detail: str = ""


class Agent(Protocol):
    """One CLI."""

    name: str
    package: Package | None
    check: str
    """A shell line that prints its version and fails where it can't run."""
    structured: bool
    """Whether stdout is JSON lines that `parse` understands."""
    providers: tuple[str, ...]
    """Whose keys it can use, in order of preference; empty when it needs none."""
    models: tuple[str, ...]
    """Suggestions; the first is the default."""
    efforts: tuple[str, ...]
    needs_mb: int

    def turn(self, task: Task) -> Command:
        """The command of one turn; its own files go into the task's folder."""

    def inject(self, briefing: Briefing) -> Injection:
        """Where this CLI looks for what the briefing has."""

    def parse(self, state: dict[str, Any], line: dict[str, Any], t: int) -> Iterator[Event]:
        """Our events for one JSON line of stdout, `t` ms after the command began.

        `state` is JSON, changed in place, and goes from relay to relay; it begins as the job's context:
        {"session": id or "", "baseline": what the last closing event gave or {}, "model": what was asked for or ""}.
        """

    def judge(self, ended: Exit, found: Found) -> Verdict:
        """What became of a turn that came to its own end."""
