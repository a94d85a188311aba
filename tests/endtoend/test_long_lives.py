"""Across a session's end and at the deadline: what was printed is complete, also by an agent that will not go."""

from datetime import timedelta

from sandboxes import e2b, sessions
from sandboxes.models import Job, Output, Sandbox
from tests.endtoend.conftest import end, printed, status_of, turn_of
from tests.endtoend.test_kills import SCRIPT, check_complete, printing
from tests.stack import Stack, wait_for

STUBBORN = "trap '' TERM INT HUP; echo working; while :; do sleep 0.05; done"


def test_a_turn_goes_on_across_the_end_of_a_session(stack: Stack) -> None:
    sandbox = stack.launch(stack.project()[0], SCRIPT)
    printing(sandbox)
    sandbox.refresh_from_db()
    sessions.renew(sandbox)
    check_complete(sandbox, turn_of(sandbox))
    assert sandbox.status == "running"
    end(sandbox)


def test_at_the_deadline_an_agent_that_ignores_signals_is_ended_with_its_output(stack: Stack) -> None:
    sandbox = stack.launch(stack.project()[0], STUBBORN)
    job = wait_for(lambda: Job.objects.filter(sandbox=sandbox, kind="turn", seq__gte=1).first(), "output")
    sandbox.refresh_from_db()
    left = timedelta(seconds=1)
    spent = timedelta(milliseconds=sandbox.timeout_ms) - left - (sandbox.ran - timedelta(milliseconds=sandbox.ran_ms))
    Sandbox.objects.filter(pk=sandbox.pk).update(ran_ms=spent / timedelta(milliseconds=1))
    Sandbox.poke(sandbox.pk)
    status_of(sandbox, "killed")
    assert sandbox.reason == "timeout"
    turn = turn_of(sandbox)
    assert turn.status == "interrupted"
    job.refresh_from_db()
    assert (job.status, job.exit_reason) == ("exited", "stopped"), "killed by the courier, its end stored"
    assert printed(job, Output.Stream.STDOUT) == b"working\n"
    place = e2b.local_provider()
    wait_for(
        lambda: sandbox.provider_id not in {machine.id for machine in e2b.machines(place)}, "its machine to be gone"
    )
