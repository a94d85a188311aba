"""Answers by contract: an agent writes JSON into a file, the portal reads and checks it, and asks once more.

queue(contract=NAME) ──> the prompt names file and schema ──> the turn ends ──> read ──> `Turn.answer`
                                                   └─ it doesn't fit ──> a repair turn quotes the error ──> failed

The models are in `registries.contracts`, by name. A script is asked for nothing: it may write the file that its
environment names as ANSWER_FILE.
"""

import json
import shlex
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from codecourier import registries
from codecourier.redact import Redactor

from . import e2b
from .agents import AGENTS, Verdict
from .models import Job, Sandbox, Turn
from .reasons import Reason

# A longer answer is no answer.
MOST_BYTES = 2 * 2**20
MOST_ERRORS, ERROR_CHARS = 12, 300

ASK = """\
When you are done, write your answer as JSON into the file `{path}` (outside the project), with nothing else in it.
It has to fit this JSON Schema:

```json
{schema}
```"""
MEND = """\
Your answer can't be used: {error}

Do the work no second time. Only write the answer again, complete and in the right form.

{ask}"""


@dataclass(frozen=True)
class Answer:
    """What was read: a value that fits, or a sentence that says why there is none."""

    value: dict[str, Any] | None = None
    error: str = ""


def path_of(turn: Turn) -> str:
    """Where its answer is expected: a file of its own, so that an older one is never taken for it."""
    return f"{e2b.HOME}/answer-{turn.pk}.json"


def model_of(name: str) -> type[BaseModel]:
    """The form of an answer; KeyError for a name that no app registered."""
    found: type[BaseModel] = registries.contracts[name]
    return found


def put(turn: Turn) -> None:
    """Have a queued message say what it has to be answered with."""
    if turn.contract and AGENTS[turn.sandbox.tool].structured:
        turn.prompt = f"{turn.prompt.rstrip()}\n\n{ask(turn)}"
        turn.save(update_fields=["prompt"])


def ask(turn: Turn) -> str:
    """The words that ask for it."""
    schema = json.dumps(model_of(turn.contract).model_json_schema(), indent=1)
    return ASK.format(path=path_of(turn), schema=schema)


def variables(job: Job) -> dict[str, str]:
    """For the environment of a turn that may answer."""
    turn = getattr(job, "turn", None) if job.kind == Job.Kind.TURN else None
    return {"ANSWER_FILE": path_of(turn)} if turn and turn.contract else {}


def due(turn: Turn, verdict: Verdict) -> bool:
    """Whether an ended turn may have an answer: what an agent that failed left behind is none."""
    if not turn.contract:
        return False
    return verdict.status == Turn.Status.SUCCEEDED or not AGENTS[turn.sandbox.tool].structured


def read(turn: Turn, sandbox: Sandbox) -> Answer:
    """The answer out of the machine, which is not trusted. A script that wrote none has nothing to say."""
    machine, path = e2b.machine_of(sandbox), path_of(turn)
    name = shlex.quote(path)
    said = machine.run(f"[ -f {name} ] && wc -c < {name} || echo none", "look for the answer").strip()
    if not said.isdigit():
        missing = f"there is no file {path}."
        return Answer(error=missing) if AGENTS[sandbox.tool].structured else Answer()
    if int(said) > MOST_BYTES:
        return Answer(error=f"the file has {int(said):,} bytes, and at most {MOST_BYTES:,} are read.")
    return parse(turn, machine.read(path, "read the answer"), Redactor(sandbox.project.secrets()))


def parse(turn: Turn, data: bytes, redactor: Redactor) -> Answer:
    """Bytes as the contract's model, without the project's secrets."""
    text = redactor.redact_text(data.decode(errors="replace"))
    try:
        found = model_of(turn.contract).model_validate_json(text)
    except ValidationError as error:
        return Answer(error=explained(error))
    # PostgreSQL takes no NUL in JSON.
    return Answer(json.loads(found.model_dump_json().replace("\\u0000", "\\ufffd")))


def explained(error: ValidationError) -> str:
    """Pydantic's list as sentences, bounded."""
    rows = [(".".join(map(str, row["loc"])), row["msg"]) for row in error.errors(include_url=False)]
    lines = [f"{where}: {what}"[:ERROR_CHARS] if where else what[:ERROR_CHARS] for where, what in rows[:MOST_ERRORS]]
    more = [f"and {len(rows) - MOST_ERRORS} more"] if len(rows) > MOST_ERRORS else []
    return "; ".join([*lines, *more]) + "."


def judged(turn: Turn, verdict: Verdict, answer: Answer | None) -> Verdict:
    """How the turn ended, its answer considered; sets `answer` on this object of the row."""
    if answer and not answer.error:
        turn.answer = answer.value
        return verdict
    if not due(turn, verdict):
        return verdict
    why = answer.error if answer else "the machine was gone before it could be read."
    return Verdict(Turn.Status.FAILED, Reason.CONTRACT, f"{Reason.sentence(Reason.CONTRACT)} {why[0].upper()}{why[1:]}")


def ask_again(turn: Turn, error: str) -> Turn | None:
    """Once, before whatever else waits: a turn that mends the answer. None for a script, and for a repair itself."""
    if turn.repairs_id or not AGENTS[turn.sandbox.tool].structured:
        return None
    repair = Turn(
        sandbox=turn.sandbox, created_by=turn.created_by, status=Turn.Status.QUEUED, position=turn.position,
        contract=turn.contract, repairs=turn, model=turn.model, effort=turn.effort, prompt=error,
    )  # fmt: skip
    repair.save()
    repair.prompt = MEND.format(error=error, ask=ask(repair))
    repair.save(update_fields=["prompt"])
    repair.record("", repair.status, repair.created_at)
    return repair


def outcome(turn: Turn) -> Turn | None:
    """The turn whose end counts: the last that repairs it or goes on with it. None while that is not over."""
    last = turn
    while following := Turn.objects.filter(repairs=last).first():
        last = following
    return last if last.final else None
