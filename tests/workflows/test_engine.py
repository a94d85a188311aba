"""Runs move by their rows, whatever is delivered twice or dies: agents, machines and remotes are played here."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import transaction
from django.utils import timezone
from hypothesis import Phase, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from codecourier.models import Project, User
from learnings.models import Extraction, LearningSettings
from personas.models import Persona
from sandboxes import fleet, stock, turns
from sandboxes.models import Checkpoint, Job, Sandbox, Turn
from sandboxes.turns import NotPossible
from tests.workflows.conftest import build
from usage.models import Budget
from workflows import engine, machines, prompts, runs
from workflows.models import Run, StepRun

ANSWERS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "verdict": lambda good: {"verdict": "pass" if good else "fail", "summary": "So it is.", "findings": []},
    "choice": lambda good: {"choice": "A" if good else "B", "reason": "It is."},
    "text": lambda good: {"text": "Said."},
    "plan": lambda good: {"summary": "", "steps": [{"title": "One"}]},
    "score": lambda good: {"score": 80, "summary": "Good.", "dimensions": {}},
}


@pytest.fixture(autouse=True)
def without_git(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the store would say of commits that are only names here."""
    monkeypatch.setattr(prompts, "changes", lambda *_: "```\n a.txt | 1 +\n```")
    monkeypatch.setattr(prompts, "patch", lambda *_: b"diff\n")


def advance(run: Run) -> None:
    """As the task does."""
    with Run.claim(run.pk) as row:
        if row:
            engine.advance(row)
    run.refresh_from_db()


def play(row: StepRun, status: str = "succeeded", good: bool = True) -> None:
    """The agent of a row at work has done its turn, and its work is saved."""
    turn, sandbox = row.turn, row.sandbox
    assert turn
    assert sandbox
    if sandbox.status == "creating":
        sandbox.enter("running")
        Sandbox.objects.filter(pk=sandbox.pk).update(start_commit="b" * 40)
    elif sandbox.status == "paused":
        sandbox.enter("running")
    with transaction.atomic():
        job = Job.objects.create(sandbox=sandbox, kind="turn", status="exited", exit_code=0)
        turn.move("running", job=job, started_at=timezone.now())
        answer = ANSWERS[turn.contract](good) if turn.contract and status == "succeeded" else None
        turn.move(status, answer=answer, ended_at=timezone.now(), reason="" if status == "succeeded" else "exit")
        saved = Checkpoint.objects.create(sandbox=sandbox, turn=turn, cause="turn", status="taking")
        saved.move("stored", commit=f"{saved.pk:040x}")


def turn_of(row: StepRun) -> Turn:
    assert row.turn
    return row.turn


def machine_of(row: StepRun) -> Sandbox:
    assert row.sandbox
    return row.sandbox


def at_work(run: Run) -> list[StepRun]:
    rows = run.step_runs.filter(status="running").select_related("sandbox", "turn").order_by("id")
    return [row for row in rows if row.turn and not row.turn.final]


def rest(run: Run) -> None:
    """The machines did what is wanted of them."""
    for sandbox in run.sandboxes:
        if sandbox.wanted == "kill" and not sandbox.final:
            fleet.conclude(sandbox)
        elif sandbox.wanted == "pause" and sandbox.status == "running":
            sandbox.enter("paused")


def finish(run: Run, *outcomes: bool) -> Run:
    """Play a run to its end; checkers say these verdicts in order, then always yes."""
    verdicts = iter(outcomes)
    for _ in range(100):
        advance(run)
        if run.final and run.cleaned_at:
            return run
        rest(run)
        for row in at_work(run):
            play(row, good=next(verdicts, True) if row.spec["contract"] == "verdict" else True)
    raise AssertionError(f"{run} did not end")


def walked(run: Run) -> list[str]:
    return [
        f"{row.kind} {row.step}.{row.iteration}{row.letter} {row.verdict or row.status}"
        for row in run.step_runs.order_by("id")
    ]


@pytest.fixture
def launch(project: Project, owner: User, templates: None) -> Callable[..., Run]:
    def made(*units: Any, workflow: dict[str, Any] | None = None, **fields: Any) -> Run:
        return runs.launch(build(project, *units, **(workflow or {})), owner, **{"prompt": "Build it.", **fields})

    return made


Launch = Callable[..., Run]


def test_a_loop_goes_on_until_it_passes_and_each_step_keeps_its_machine(launch: Launch):
    run = finish(launch((3, ["designer", "checker"]), "optimizer"), False, False, True)
    assert (run.status, run.reason) == ("completed", "finished")
    assert walked(run) == [
        "step 0.1 succeeded", "step 1.1 fail", "step 0.2 succeeded", "step 1.2 fail", "step 0.3 succeeded",
        "step 1.3 pass", "step 2.1 succeeded",
    ]  # fmt: skip
    assert run.sandboxes.count() == 3
    designer = run.sandboxes.get(labels__role="designer")
    assert designer.turns.count() == 3
    assert designer.labels["iteration"] == 3
    # Later turns begin at the newest work that counts; what a checker changed is not part of it.
    second = run.step_runs.get(step=0, iteration=2)
    checker = run.step_runs.get(step=1, iteration=1)
    assert turn_of(second).onto == second.base == run.step_runs.get(step=0, iteration=1).checkpoint
    assert checker.dropped is not None
    assert checker.checkpoint == checker.base
    assert run.checkpoint == run.step_runs.get(step=2).checkpoint
    assert all(sandbox.final for sandbox in run.sandboxes)


def test_the_next_iteration_is_told_what_was_found(launch: Launch):
    run = launch((2, ["designer", "checker"]))
    advance(run)
    play(at_work(run)[0])
    advance(run)
    (row,) = at_work(run)
    play(row)
    finding = {"severity": "high", "file": "a.py", "line": 3, "problem": "It divides by zero.", "suggestion": "Don't."}
    Turn.objects.filter(pk=turn_of(row).pk).update(answer={"verdict": "fail", "summary": "No.", "findings": [finding]})
    advance(run)
    (again,) = at_work(run)
    assert "a.py:3: It divides by zero." in again.prompt
    assert "iteration 2 of at most 2" in again.prompt
    assert again.prompt in turn_of(again).prompt


def test_what_is_never_approved_ends_as_not_approved(launch: Launch):
    run = finish(launch((2, ["designer", "checker"])), False, False)
    assert (run.status, run.reason) == ("failed", "not_approved")
    assert "So it is." in run.detail
    assert run.checkpoint == run.step_runs.get(step=0, iteration=2).checkpoint


def test_the_best_of_three_goes_on_and_nobody_is_named(launch: Launch):
    run = launch("designer*3", "optimizer", repository_url="https://git.example.com/acme/shop.git", publish="nothing")
    advance(run)
    (first,) = at_work(run)
    assert "first machine is being made" in run.held
    play(first)
    advance(run)
    assert run.base_commit == "b" * 40
    others = at_work(run)
    assert {machine_of(row).at_commit for row in others} == {"b" * 40}
    assert {machine_of(row).work_branch for row in others} == {f"{run.work_branch}-c2", f"{run.work_branch}-c3"}
    play(others[0], "failed")
    play(others[1])
    advance(run)
    (judge,) = at_work(run)
    assert judge.kind == "judge"
    assert [file.name for file in turn_of(judge).attachments.all()] == ["A.patch", "C.patch"]
    assert not any(row.spec["persona"] in judge.prompt for row in run.step_runs.filter(kind="step"))
    play(judge)
    finish(run)
    assert run.step_runs.get(step=1).base == run.step_runs.get(step=0, candidate=1).checkpoint
    assert run.status == "completed"


def test_an_evaluator_scores_and_its_failure_fails_nothing(launch: Launch):
    run = finish(launch("designer", workflow={"evaluate": "always"}))
    assert (run.status, run.score) == ("completed", 80)
    other = launch("designer", workflow={"evaluate": "always"})
    advance(other)
    play(at_work(other)[0])
    advance(other)
    advance(other)
    play(at_work(other)[0], "failed")
    finish(other)
    assert (other.status, other.score) == ("completed", None)
    runs.ask_score(other, None)
    advance(other)
    play(at_work(other)[0])
    advance(other)
    assert (other.score, other.score_asked) == (80, False)


def test_a_cancelled_run_stops_everything(launch: Launch, owner: User):
    run = launch("designer*2")
    advance(run)
    runs.cancel(run, owner)
    advance(run)
    assert (run.status, run.reason) == ("cancelled", "user")
    assert all(sandbox.wanted == "kill" for sandbox in run.sandboxes)
    assert {row.status for row in run.step_runs.all()} == {"cancelled"}
    with pytest.raises(NotPossible):
        runs.cancel(run, owner)


def test_a_retry_goes_on_with_what_was_done_before(launch: Launch, owner: User):
    run = launch("planner", "designer", "optimizer")
    advance(run)
    play(at_work(run)[0])
    advance(run)
    play(at_work(run)[0])
    advance(run)
    play(at_work(run)[0], "failed")
    finish(run)
    assert run.reason == "step_failed"
    made = finish(runs.retry(run, owner, 2))
    assert walked(made) == ["step 0.1 succeeded", "step 1.1 succeeded", "step 2.1 succeeded"]
    assert [row.reused for row in made.step_runs.order_by("id")] == [True, True, False]
    assert made.work_branch == run.work_branch
    assert made.step_runs.get(step=2).base == run.step_runs.get(step=1).checkpoint
    assert made.sandboxes.count() == 1


def test_a_retry_in_a_loop_keeps_the_iterations_before(launch: Launch, owner: User):
    run = finish(launch((2, ["designer", "checker"])), False, False)
    made = runs.retry(run, owner, 1)
    advance(made)
    assert walked(made) == ["step 0.1 succeeded", "step 1.1 fail", "step 0.2 succeeded", "step 1.2 running"]


def test_somebody_who_interrupts_a_step_has_the_run_wait_for_a_word(launch: Launch, owner: User):
    run = launch("designer")
    advance(run)
    (row,) = at_work(run)
    play(row, "interrupted")
    Turn.objects.filter(pk=turn_of(row).pk).update(reason="interrupted")
    advance(run)
    assert run.status == "running"
    assert "was interrupted" in run.held
    word = runs.follow_up(run, owner, "Do it like this.")
    row.turn = word
    play(row)
    finish(run)
    assert run.status == "completed"


def test_what_people_say_meanwhile_is_part_of_the_step(launch: Launch, owner: User):
    run = launch("designer")
    advance(run)
    (row,) = at_work(run)
    word = runs.follow_up(run, owner, "And the docs.")
    play(row)
    advance(run)
    assert walked(run) == ["step 0.1 running"]
    row.turn = word
    play(row)
    finish(run)
    assert word.checkpoints.get() == run.step_runs.get().checkpoint


def test_so_many_run_at_once_and_every_project_gets_its_turn(launch: Launch, owner: User, settings: LazySettings):
    settings.RUNS_AT_ONCE, settings.RUNS_PER_PROJECT = 3, 3
    mine = [launch("designer") for _ in range(4)]
    for run in mine:
        advance(run)
    other = Project.objects.create(name="Other", slug="other")
    theirs = [runs.launch(build(other, "designer"), owner, prompt="Theirs.") for _ in range(2)]
    for run in [*mine[3:], *theirs]:
        advance(run)
    assert [run.status for run in mine] == ["running"] * 3 + ["pending"]
    assert "3 runs of this project" in mine[3].held
    assert "number 1 in line" in theirs[0].held
    finish(mine[0])
    for run in [*mine[1:], *theirs]:
        advance(run)
    assert [run.status for run in theirs] == ["running", "pending"], "the project with fewer runs goes first"
    assert mine[3].status == "pending"


def test_a_run_waits_while_its_budget_is_used_up(launch: Launch, project: Project):
    budget = Budget.objects.create(scope="project", project=project, amount=Decimal("0.40"))
    first, second = launch("designer"), launch("designer")
    advance(first)
    advance(second)
    assert (first.step_runs.get().status, second.step_runs.get().status) == ("running", "waiting")
    assert "budget" in second.held
    Budget.objects.filter(pk=budget.pk).update(amount=Decimal(5))
    advance(second)
    assert (second.held, second.step_runs.get().status) == ("", "running")
    assert machine_of(second.step_runs.get()).labels["reservation"]


def test_twenty_runs_at_a_nearly_spent_budget_all_wait_and_all_go_on(
    launch: Launch, project: Project, settings: LazySettings
):
    settings.RUNS_PER_PROJECT = 20
    budget = Budget.objects.create(scope="project", project=project, amount=Decimal("1.20"))
    waiting = [launch("designer") for _ in range(20)]
    for run in waiting:
        advance(run)
    begun = StepRun.objects.filter(run__in=waiting, status="running")
    # What is set aside for each is 50 cents, so the third is the one turn that may pass the budget.
    assert begun.count() == 3
    assert all(run.status == "running" for run in waiting), "none is lost"
    Budget.objects.filter(pk=budget.pk).update(amount=Decimal(100))
    assert {finish(run).status for run in waiting} == {"completed"}


def test_what_is_edited_in_mid_run_changes_nothing_in_it(launch: Launch, owner: User):
    run = launch("designer", "optimizer")
    advance(run)
    told = run.manifest
    assert run.workflow
    for step in run.workflow.steps.all():
        Persona.objects.filter(pk=step.persona_id).update(
            instructions="Something else.", tool="codex", archived_at=timezone.now(), role="checker"
        )
    run.workflow.steps.all().delete()
    run.workflow.delete()
    Persona.objects.filter(project=run.project).delete()
    finish(run)
    assert run.status == "completed"
    assert run.manifest == told
    assert {sandbox.tool for sandbox in run.sandboxes} == {"claude"}
    assert walked(finish(runs.again(run, owner))) == walked(run)


def test_a_workflow_may_say_that_its_runs_are_never_scored(launch: Launch):
    run = finish(launch("designer", workflow={"evaluate": "never"}))
    with pytest.raises(NotPossible, match="never scored"):
        runs.ask_score(run, None)


def test_what_a_run_teaches_is_asked_once_where_the_project_wants_to_know(
    launch: Launch, project: Project, owner: User
):
    LearningSettings.objects.create(project=project, when="always")
    run = finish(launch("designer", "optimizer"))
    (row,) = Extraction.objects.filter(run_id=run.pk)
    assert set(row.sandboxes.all()) == set(run.sandboxes.filter(kind="step"))
    advance(run)
    cancelled = launch("designer")
    advance(cancelled)
    runs.cancel(cancelled, owner)
    finish(cancelled)
    assert Extraction.objects.filter(project=project).count() == 1


def test_sent_twice_it_is_one_run(launch: Launch, project: Project, owner: User):
    first = launch("designer", request_key="mark")
    assert first.workflow
    assert runs.launch(first.workflow, owner, prompt="Again.", request_key="mark") == first


class Died(Exception):
    """The worker's end."""


@contextmanager
def dying(where: int) -> Iterator[None]:
    """The worker dies before or after one of the steps that write; the transaction that it is in is gone."""
    places = [
        (fleet, "launch"), (turns, "send"), (machines, "rest"), (engine, "start"), (StepRun, "move"), (Run, "move"),
        (fleet, "pause"), (fleet, "stop"),
    ]  # fmt: skip
    owner, name = places[where // 2 % len(places)]
    real, countdown = getattr(owner, name), [where // 16]

    def instead(*args: Any, **kwargs: Any) -> Any:
        countdown[0] -= 1
        if countdown[0] == -1 and where % 2:
            raise Died
        found = real(*args, **kwargs)
        if countdown[0] == -1:
            raise Died
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, instead)
        yield


UNIT = st.one_of(
    st.sampled_from(["designer", "planner", "checker", "designer*2", "optimizer"]),
    st.tuples(st.integers(1, 3), st.sampled_from([["designer", "checker"], ["checker"], ["designer*2", "checker"]])),
)


@pytest.mark.django_db
@examples(max_examples=8, phases=[Phase.generate])
@given(units=st.lists(UNIT, min_size=1, max_size=3), data=st.data())
def test_whatever_dies_or_comes_twice_a_run_ends_and_no_step_starts_twice(units: list[Any], data: st.DataObject):
    with transaction.atomic():
        survive(units, data)
        transaction.set_rollback(True)


def survive(units: list[Any], data: st.DataObject) -> None:
    fixtures = Project.objects.create(name="Storm", slug="storm")
    stock.templates()
    run = runs.launch(build(fixtures, *units), None, prompt="Survive.")
    for turn in range(200):
        if turn < 40 and data.draw(st.integers(0, 2)) == 0:
            with suppress(Died), dying(data.draw(st.integers(0, 47))):
                doomed(run)
            Run.objects.filter(pk=run.pk).update(lease_until=None, attempts=0)
        else:
            advance(run)
        check(run)
        if run.final and run.cleaned_at:
            break
        rest(run)
        working = at_work(run)
        if working and (turn >= 40 or data.draw(st.booleans())):
            row = data.draw(st.sampled_from(working))
            play(row, data.draw(st.sampled_from(["succeeded"] * 5 + ["failed"])), data.draw(st.booleans()))
    assert run.final, f"{run} did not end: {walked(run)}"


def doomed(run: Run) -> None:
    """The work of a worker that may die: what it has not committed is gone."""
    row = Run.objects.get(pk=run.pk)
    engine.step(row)
    run.refresh_from_db()


def check(run: Run) -> None:
    """What must hold at every moment."""
    rows = list(run.step_runs.all())
    places = [row.place for row in rows]
    assert len(places) == len(set(places))
    used = [row.turn_id for row in rows if row.turn_id]
    assert len(used) == len(set(used)), "a turn is one step's"
    assert run.sandboxes.count() == len({row.sandbox_id for row in rows if row.sandbox_id})
    assert Turn.objects.filter(sandbox__in=run.sandboxes).count() == len(used), "no step was started twice"
