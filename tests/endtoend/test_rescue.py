"""Work is there whatever ends the machine: up to the last second where it could be asked, else up to the last turn."""

from datetime import timedelta
from pathlib import Path

from sandboxes import e2b, fleet, turns
from sandboxes.models import Sandbox, Turn
from tests.endtoend.conftest import end, saved, status_of
from tests.stack import Stack, wait_for

# Writes all the time; the last line that it wrote is known by what it printed.
WORKS = "echo start > a.txt; git commit -q --allow-empty -m Mine; echo half > b.txt; echo ready; sleep 3000"


def ready(sandbox: Sandbox) -> Sandbox:
    """The same, in the middle of its last turn."""

    def printing() -> bool:
        return Turn.objects.filter(sandbox=sandbox, status="running", job__seq__gte=1).exists()

    wait_for(printing, "the turn to be half-way")
    sandbox.refresh_from_db()
    return sandbox


def test_stopped_paused_or_out_of_time_it_is_all_there(stack: Stack, repository: Path) -> None:
    project, _ = stack.project()
    ends = ("stop", "pause", "deadline")
    cases = {name: stack.launch(project, WORKS, repository_url=str(repository)) for name in ends}
    for sandbox in cases.values():
        ready(sandbox)
    fleet.stop(cases["stop"], None)
    fleet.pause(cases["pause"], None)
    late = timedelta(milliseconds=cases["deadline"].timeout_ms)
    Sandbox.objects.filter(pk=cases["deadline"].pk).update(ran_ms=late / timedelta(milliseconds=1))
    Sandbox.poke(cases["deadline"].pk)
    status_of(cases["stop"], "killed")
    status_of(cases["pause"], "paused")
    assert status_of(cases["deadline"], "killed").reason == "timeout"
    for name, sandbox in cases.items():
        assert (saved(sandbox, "a.txt"), saved(sandbox, "b.txt")) == ("start\n", "half\n"), name
    end(cases["pause"])


def test_a_machine_killed_without_warning_leaves_all_up_to_the_last_turn(stack: Stack, repository: Path) -> None:
    project, _ = stack.project()
    sandbox = stack.launch(project, "echo first > a.txt", repository_url=str(repository))
    wait_for(sandbox.checkpoints.stored().exists, "the first turn's work")
    turns.send(sandbox, None, "echo second > a.txt; echo ready; sleep 3000")
    ready(sandbox)
    e2b.kill(e2b.provider_of(project), sandbox.provider_id)
    status_of(sandbox, "error", "killed")
    assert saved(sandbox, "a.txt") == "first\n"
    told = sandbox.checkpoints.last()
    assert told
    assert (told.status, "later changes are not in it" in told.detail) == ("failed", True)
