"""Runs with script agents on the real processes: a loop, and what dies on the way; one pull request."""

import itertools
from functools import partial
from pathlib import Path

import pytest

from codecourier.models import Project
from sandboxes import e2b
from sandboxes.checkpoints.store import Store
from tests.endtoend import script_runs
from tests.endtoend.script_runs import LOOPED, launch, over
from tests.endtoend.test_kills import kill
from tests.githubserver.server import GitHub
from tests.stack import Stack, wait_for
from workflows import runs
from workflows.models import Run, StepRun

NAME = "acme/runs"


@pytest.fixture
def project(stack: Stack, github_server: GitHub, tmp_path: Path) -> Project:
    return script_runs.project(stack, github_server, NAME, tmp_path / "seed")


def test_a_run_loops_until_it_is_approved_and_ends_in_one_pull_request(
    stack: Stack, project: Project, github_server: GitHub
) -> None:
    run = over(launch(project))
    script_runs.check(run, github_server, NAME)
    first = run.step_runs.get(step=1, iteration=1)
    assert first.dropped is not None
    assert "exit status 1" in str(first.answer)
    assert run.base_commit == github_server.head(NAME, "main")


def test_cancelled_in_any_phase_it_ends_and_its_work_is_saved(stack: Stack, project: Project) -> None:
    flow = script_runs.workflow(project, ("designer", "echo begun > begun.txt; sleep 98765", False))
    early = runs.launch(flow, None, prompt="Never mind.")
    runs.cancel(early, None)
    run = runs.launch(flow, None, prompt="Take your time.")

    def files() -> str:
        row = run.step_runs.select_related("sandbox").first()
        if not row or not row.sandbox or row.sandbox.status != "running":
            return ""
        return e2b.machine_of(row.sandbox).run("ls ~/project", "look for the work").replace("README", "")

    wait_for(lambda: "begun.txt" in files(), "the step to begin", 60)
    runs.cancel(run, None)
    for one in (early, run):
        assert (over(one).status, one.reason) == ("cancelled", "user")
    (sandbox,) = run.sandboxes
    saved = sandbox.checkpoints.stored().last()
    assert saved is not None
    assert "begun.txt" in Store.of(project).git("ls-tree", "--name-only", saved.commit).decode()


@pytest.mark.long
def test_whatever_is_killed_at_every_move_the_run_ends_as_it_should(
    stack: Stack, project: Project, github_server: GitHub
) -> None:
    run = launch(project)
    victims = itertools.cycle(["worker", "postgres", "relay", "host", "web"])
    for moves in range(1, 2 * len(LOOPED) + 1):
        wait_for(partial(has_made, run, moves), f"move {moves} of the run", 120)
        kill(stack, next(victims))
    script_runs.check(over(run), github_server, NAME)


def has_made(run: Run, moves: int) -> bool:
    """Whether its steps have made so many moves."""
    rows = StepRun.objects.filter(run=run)
    return rows.exclude(status="waiting").count() + rows.exclude(status__in=StepRun.OPEN).count() >= moves
