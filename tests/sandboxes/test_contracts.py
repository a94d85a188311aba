"""Answers by contract, and machines that are set to another one's work."""

import json
from collections.abc import Callable, Iterator

import pytest
from pydantic import BaseModel, Field

from codecourier import registries
from codecourier.models import Project, Variable
from codecourier.redact import Redactor
from sandboxes import contracts, e2b, fleet, jobs, turns
from sandboxes.agents import Verdict
from sandboxes.checkpoints import setting
from sandboxes.models import Checkpoint, Job, Kind, Sandbox, Template, Turn
from sandboxes.reasons import Reason
from tests.faults import Faults
from tests.sandboxes.repositories import make
from tests.sandboxes.test_checkpoints import run, save, shell, text

Launch = Callable[..., Sandbox]
Look = Callable[[], None]
DONE = Verdict("succeeded")


class Fruit(BaseModel):
    """What these tests ask for."""

    name: str
    count: int = Field(ge=0)


@pytest.fixture(autouse=True)
def fruit() -> Iterator[None]:
    registries.contracts["fruit"] = Fruit
    yield
    del registries.contracts["fruit"]


@pytest.fixture
def claude(template: Template) -> Template:
    return Template.objects.create(slug="claude", name="Claude", tool="claude", image="claude")


@pytest.fixture
def asked(launch: Launch, claude: Template, project: Project, owner: object) -> Turn:
    """A message that has to be answered by contract; there is no machine."""
    sandbox = fleet.launch(project, None, template=claude, prompt="Count the pears.", contract="fruit")
    return sandbox.turns.get()


def parsed(turn: Turn, value: str | bytes, project: Project) -> contracts.Answer:
    data = value if isinstance(value, bytes) else value.encode()
    return contracts.parse(turn, data, Redactor(project.secrets()))


def test_the_message_says_where_and_in_which_form_to_answer(asked: Turn):
    assert asked.prompt.startswith("Count the pears.\n\n")
    assert contracts.path_of(asked) in asked.prompt
    assert '"minimum": 0' in asked.prompt


def test_what_fits_is_kept_and_secrets_are_not(asked: Turn, project: Project):
    Variable.objects.create(project=project, name="TOKEN", value="hunter2-hunter2", secret=True)
    answer = parsed(asked, '{"name": "hunter2-hunter2 \\u0000", "count": 3, "more": 1}', project)
    assert answer.value is not None
    assert answer.value["count"] == 3
    assert "hunter2" not in answer.value["name"]
    Turn.objects.filter(pk=asked.pk).update(answer=answer.value)  # the database takes it


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("", "Invalid JSON"),
        ("```json\n{}\n```", "Invalid JSON"),
        ("[" * 100_000, "Invalid JSON"),
        ('{"name": "pear"}', "count: Field required"),
        ('{"name": "pear", "count": -1}', "count: Input should be greater than or equal to 0"),
        (b'{"name": "\xff", "count": "x"}', "count: Input should be a valid integer"),
        (json.dumps({"name": "\ud800", "count": 1}), "Invalid JSON"),
    ],
)
def test_what_does_not_fit_is_told_in_words(asked: Turn, project: Project, said: str | bytes, why: str):
    answer = parsed(asked, said, project)
    assert answer.value is None
    assert why in answer.error
    assert len(answer.error) < 5000


def test_an_answer_that_does_not_fit_is_asked_for_once_more_and_before_other_messages(asked: Turn, owner: object):
    turns.send(asked.sandbox, None, "And the apples.")
    bad = contracts.Answer(error="count: Field required.")
    verdict = contracts.judged(asked, DONE, bad)
    assert (verdict.status, verdict.reason) == ("failed", Reason.CONTRACT)
    assert "Count: Field required." in verdict.detail
    repair = contracts.ask_again(asked, bad.error)
    assert repair is not None
    assert "count: Field required." in repair.prompt
    assert contracts.path_of(repair) in repair.prompt
    waiting = asked.sandbox.turns.filter(status="queued").exclude(pk=asked.pk).order_by("position", "pk")
    assert next(turn.pk for turn in waiting) == repair.pk
    assert contracts.ask_again(repair, bad.error) is None
    assert contracts.outcome(asked) is None


def test_an_agent_that_failed_is_not_asked_for_its_answer(asked: Turn):
    failed = Verdict("failed", "silence", "It was silent.")
    assert not contracts.due(asked, failed)
    assert contracts.judged(asked, failed, None) == failed


def test_a_machine_that_was_gone_too_early_has_no_answer(asked: Turn):
    assert contracts.judged(asked, DONE, None).reason == Reason.CONTRACT


def play(sandbox: Sandbox, command: str, look: Look) -> None:
    """The running turn's script did this and has ended."""
    job = sandbox.jobs.get(kind=Job.Kind.TURN)
    shell(sandbox, command.replace("$ANSWER_FILE", contracts.path_of(job.turn)))
    job.move("exited", exit_code=0, ended_at=job.created_at)
    look()


@pytest.mark.parametrize(
    ("command", "status", "answer"),
    [
        ("""echo '{"name": "pear", "count": 2}' > $ANSWER_FILE""", "succeeded", {"name": "pear", "count": 2}),
        ("true", "succeeded", None),
        ("head -c 3000000 /dev/zero > $ANSWER_FILE", "failed", None),
        ("ln -s /dev/zero $ANSWER_FILE", "succeeded", None),
    ],
)
def test_a_script_may_answer_and_a_session_ends_with_its_answer(
    provider: Faults, launch: Launch, look: Look, command: str, status: str, answer: object
):
    sandbox = run(launch("sleep 60", contract="fruit", kind=Kind.LEARNING), look)
    play(sandbox, command, look)
    turn = sandbox.turns.get()
    assert (turn.status, turn.answer) == (status, answer)
    look()
    sandbox.refresh_from_db()
    assert (sandbox.status, sandbox.reason) == ("killed", Reason.FINISHED)


def test_a_machine_is_set_to_what_others_did_meanwhile(
    provider: Faults, launch: Launch, look: Look, tmp_path: object, project: Project
):
    origin = make(tmp_path / "origin", a__txt="one\n")  # type: ignore[operator]
    first = run(launch(repository_url=str(origin)), look)
    shell(first, "echo node_modules > .gitignore; mkdir node_modules; echo kept > node_modules/x; echo two > a.txt")
    base = save(first)
    second = run(launch(continues=base, repository_url=str(origin)), look)
    shell(second, "echo three > a.txt; echo new > b.txt")
    done = save(second)
    shell(first, "echo mine > a.txt; echo stray > c.txt; git checkout -q --detach")
    turn = turns.send(first, None, "true", onto=done)
    Turn.objects.filter(pk=turn.pk).update(started_at=turn.created_at)
    for _ in range(2):
        setting.bring(turn, e2b.machine_of(first))
    said = shell(first, "cat a.txt b.txt node_modules/x; ls c.txt 2>&1; git symbolic-ref --short HEAD; git status -s")
    assert said.split("\n")[:3] == ["three", "new", "kept"]
    assert "No such file" in said
    assert first.work_branch in said
    # Its command has begun by now: what is there is its work, also for a worker that has to begin it once more.
    turn.job = Job.objects.create(sandbox=first, kind="turn", status="starting")
    e2b.machine_of(first).write({f"{jobs.folder(turn.job)}/{jobs.SPEC}": b"{}"}, "begin")
    shell(first, "echo begun > d.txt")
    setting.bring(turn, e2b.machine_of(first))
    assert shell(first, "cat d.txt; rm d.txt").strip() == "begun"
    # Nothing of its own since: nothing to keep.
    assert save(first).status == "same"
    shell(first, "echo four > a.txt")
    again = save(first)
    assert (again.status, text(project, again, "a.txt")) == ("stored", "four\n")
    assert again.bytes < 3000


def test_a_state_that_is_gone_ends_the_sandbox_with_a_sentence(
    provider: Faults, launch: Launch, look: Look, project: Project
):
    sandbox = run(launch(), look)
    shell(sandbox, "echo one > a.txt")
    here = save(sandbox)
    lost = Checkpoint.objects.create(
        sandbox=launch(), cause="turn", status="stored", commit="1" * 40, created_at=here.created_at
    )
    turn = turns.send(sandbox, None, "true", onto=lost)
    look()
    sandbox.refresh_from_db()
    turn.refresh_from_db()
    assert (sandbox.status, turn.status) == ("error", "interrupted")
    assert "not in the portal's repository any more" in sandbox.detail
