"""One case with one CLI: launch, let it go wrong, look at the turn and at the machine."""

import time
from dataclasses import asdict, dataclass, replace
from typing import Any

from sandboxes import e2b
from sandboxes.models import Turn
from tests.agents.clis import Cli
from tests.agents.harness import AgentStack, Conversation, conversing
from tests.stack import wait_for

from .cases import NAP, Case


@dataclass(frozen=True)
class Outcome:
    """How a case went with a CLI; `faults` are what should be otherwise."""

    tool: str
    case: str
    end: str
    detail: str
    seconds: float
    retries: int
    errors: int
    tokens: bool
    left: list[str]
    faults: list[str]

    def to_json(self) -> dict[str, Any]:
        """As a plain object."""
        return asdict(self)


def perform(stack: AgentStack, cli: Cli, case: Case) -> Outcome:
    """The case in a sandbox of its own; a turn that does not end is an outcome, too."""
    model = cli.model.replace(cli.arrives, "unknown-model") if case.unknown_model else cli.model
    fields: dict[str, Any] = {"designer_model": model, **case.fields}
    try:
        with conversing(stack, cli, case.prompt, key=case.key, **fields) as (talk, turn):
            return _watched(talk, turn, case)
    except AssertionError as error:
        said = "\n".join([str(error), *error.__notes__])
        return Outcome(cli.tool, case.name, "", said, 0.0, 0, 0, False, [], ["did not come to an end"])


def _watched(talk: Conversation, turn: Turn, case: Case) -> Outcome:
    wait_for(lambda: talk.booted(turn), "the machine to boot", 120)
    began = time.monotonic()
    if case.in_tool:
        talk.in_tool(turn, NAP)
        _strike(talk, turn, case.in_tool)
    turn = talk.over(turn, case.within + 60)
    seconds = time.monotonic() - began
    left = list(talk.processes().values())
    kinds = [event.kind for event in talk.events(turn)]
    outcome = Outcome(
        tool=talk.cli.tool,
        case=case.name,
        end=f"{turn.status}/{turn.reason}",
        detail=turn.detail,
        seconds=round(seconds, 1),
        retries=kinds.count("retry"),
        errors=kinds.count("error"),
        tokens=turn.usage is not None,
        left=left,
        faults=[],
    )
    return replace(outcome, faults=_faults(outcome, case))


def _strike(talk: Conversation, turn: Turn, how: str) -> None:
    """Interrupt it as a person does, or end the CLI (not its tool) as something in the machine might."""
    if how == "interrupt":
        talk.interrupt(turn)
        return
    pids = " ".join(str(pid) for pid, words in talk.processes().items() if NAP not in words)
    e2b.machine_of(talk.sandbox).run(f"kill -TERM {pids} || true", "end the agent")


def _faults(outcome: Outcome, case: Case) -> list[str]:
    """What is not as it has to be."""
    faults = []
    if not case.allows(outcome.tool, outcome.end):
        faults.append(f"ended as {outcome.end}")
    named = not case.words or any(word in outcome.detail.lower() for word in case.words)
    if not named and not outcome.end.startswith("succeeded"):
        faults.append("the sentence does not name the cause")
    if outcome.seconds > case.within:
        faults.append(f"took {outcome.seconds} s")
    if outcome.left and outcome.tool not in case.may_leave:
        faults.append("processes are left")
    return faults
