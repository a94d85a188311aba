"""The queue of messages, and what becomes of a turn when its job ends."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from codecourier.models import User
from sandboxes import fleet, jobs, turns
from sandboxes.models import Job, Sandbox, Turn

Launch = Callable[..., Sandbox]


@pytest.fixture
def sandbox(launch: Launch) -> Sandbox:
    """A sandbox with one queued message; no machine."""
    return launch("echo one")


def running(sandbox: Sandbox) -> Turn:
    """Its first turn with a job that runs."""
    turn = sandbox.turns.get()
    with transaction.atomic():
        job = jobs.create(sandbox, Job.Kind.TURN)
        job.move(Job.Status.RUNNING)
        turn.move(Turn.Status.RUNNING, job=job, started_at=timezone.now())
    return turn


def ended(turn: Turn, **fields: Any) -> Turn:
    """The turn after its job came to that end and was looked at."""
    job = turn.job
    assert job
    job.move(Job.Status.EXITED, **fields)
    turns.settle(turn, turn.sandbox)
    turn.refresh_from_db()
    return turn


@pytest.mark.parametrize(
    ("fields", "status", "reason"),
    [
        ({"exit_code": 0}, "succeeded", ""),
        ({"exit_code": 2}, "failed", "exit"),
        ({"exit_signal": 9}, "failed", "exit"),
        ({"exit_code": 143, "exit_reason": "stopped"}, "interrupted", "interrupted"),
        ({"exit_code": 0, "exit_reason": "silence"}, "failed", "silence"),
        ({"exit_signal": 15, "exit_reason": "deadline"}, "failed", "timeout"),
        ({"exit_signal": 9, "exit_reason": "memory"}, "failed", "memory"),
        ({"exit_signal": 15, "exit_reason": "disk"}, "failed", "disk"),
        ({"exit_reason": "supervisor_lost", "detail": "The courier was killed."}, "failed", "exit"),
    ],
)
def test_a_turn_ends_as_its_job_did(sandbox: Sandbox, fields: dict[str, object], status: str, reason: str) -> None:
    turn = ended(running(sandbox), **fields)
    assert (turn.status, turn.reason) == (status, reason)
    assert turn.ended_at is not None
    assert turn.detail or status == "succeeded", "every end that isn't a success says why"


def test_messages_keep_their_order(sandbox: Sandbox, owner: User) -> None:
    turns.send(sandbox, owner, "echo two")
    turns.send(sandbox, owner, "echo three")
    assert list(sandbox.turns.values_list("prompt", flat=True)) == ["echo one", "echo two", "echo three"]


def test_a_queued_message_can_be_edited_and_withdrawn(sandbox: Sandbox, owner: User) -> None:
    turn = turns.send(sandbox, owner, "echo tow")
    turns.edit(turn, "echo two")
    assert Turn.objects.get(pk=turn.pk).prompt == "echo two"
    turns.withdraw(turn)
    assert sandbox.turns.count() == 1


def test_a_message_that_started_is_neither_edited_nor_withdrawn(sandbox: Sandbox) -> None:
    stale = sandbox.turns.get()
    running(sandbox)
    with pytest.raises(turns.NotPossible, match="started already"):
        turns.edit(stale, "echo else")
    with pytest.raises(turns.NotPossible, match="started already"):
        turns.withdraw(stale)


def test_an_empty_message_is_refused(sandbox: Sandbox, owner: User) -> None:
    with pytest.raises(ValidationError, match="Write what the agent should do"):
        turns.send(sandbox, owner, " \n ")


def test_a_message_to_a_sandbox_that_is_over_is_refused(sandbox: Sandbox, owner: User) -> None:
    fleet.finish(sandbox, "killed", "user")
    with pytest.raises(turns.NotPossible, match="is over"):
        turns.send(sandbox, owner, "echo two")


def test_a_message_wakes_a_sandbox_that_sleeps(sandbox: Sandbox, owner: User) -> None:
    Sandbox.objects.filter(pk=sandbox.pk).update(status="paused", wanted="pause", stop_by=timezone.now())
    turns.send(sandbox, owner, "echo two")
    assert Sandbox.objects.get(pk=sandbox.pk).wanted == "run"


def test_two_turns_never_run_at_once(sandbox: Sandbox, owner: User) -> None:
    running(sandbox)
    second = turns.send(sandbox, owner, "echo two")
    with pytest.raises(IntegrityError), transaction.atomic():
        second.move(Turn.Status.RUNNING)


def test_interrupting_nothing_says_so(sandbox: Sandbox, owner: User) -> None:
    with pytest.raises(turns.NotPossible, match="Nothing runs"):
        turns.interrupt(sandbox, owner)


def test_the_end_of_a_sandbox_closes_what_was_open(sandbox: Sandbox, owner: User) -> None:
    first, second = running(sandbox), turns.send(sandbox, owner, "echo two")
    fleet.finish(sandbox, "killed", "user")
    for turn in (first, second):
        turn.refresh_from_db()
        assert turn.status == "interrupted"
    assert first.job
    first.job.refresh_from_db()
    assert first.job.status == "lost"


def test_a_turn_whose_job_ended_before_the_machine_is_judged_by_it(sandbox: Sandbox) -> None:
    turn = running(sandbox)
    assert turn.job
    turn.job.move(Job.Status.EXITED, exit_code=0)
    fleet.finish(sandbox, "killed", "user")
    turn.refresh_from_db()
    assert turn.status == "succeeded"


def test_a_hint_that_died_with_its_worker_costs_seconds(sandbox: Sandbox) -> None:
    turn = running(sandbox)
    Sandbox.objects.filter(pk=sandbox.pk).update(due_at=timezone.now() + timedelta(hours=1))
    assert turn.job
    turn.job.move(Job.Status.EXITED, exit_code=0)
    sandbox.refresh_from_db()
    assert sandbox.due_at
    assert sandbox.due_at < timezone.now() + timedelta(seconds=10)
    look = sandbox.next_look()
    assert look
    assert look < timezone.now() + timedelta(seconds=10), "also when another worker let go of it meanwhile"


def test_the_same_form_sent_twice_makes_one_sandbox(launch: Launch) -> None:
    assert launch("echo hi", request_key="form-1").pk == launch("echo hi", request_key="form-1").pk


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("cpu", 9, "1 to 8"),
        ("memory_mb", 100, "256 to 8,192"),
        ("timeout_ms", 59_999, "60,000 to 14,400,000"),
        ("repository_url", "--upload-pack=x", "dash"),
        ("repository_url", "https://user:token@example.com/x.git", "Leave the password"),
        ("branch", "-b", "can't be the name of a branch"),
        ("branch", "a..b", "can't be the name of a branch"),
    ],
)
def test_what_could_not_work_is_refused_with_what_is_allowed(
    launch: Launch, field: str, value: object, words: str
) -> None:
    with pytest.raises(ValidationError) as refusal:
        launch("echo hi", **{field: value})
    assert words in str(refusal.value.message_dict[field])
    assert not Sandbox.objects.exists()
