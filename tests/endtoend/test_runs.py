"""Runs with script agents on the real processes: loops, candidates, what dies on the way, and one pull request."""

import itertools
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from codecourier.models import Project, ProviderKey
from personas.models import Persona
from sandboxes.models import PullRequest, Sandbox
from tests.endtoend.test_kills import kill
from tests.githubserver.server import TOKEN, GitHub
from tests.sandboxes.repositories import git, make
from tests.stack import Stack, wait_for
from workflows import runs
from workflows.models import Block, Run, Step, StepRun, Workflow

DESIGN = "echo built $RUN_ITERATION >> work.txt"
CHECK = "echo dropped > dropped.txt; echo saw $(wc -l < work.txt); [ $(wc -l < work.txt) -ge 2 ]"
POLISH = "echo polished >> work.txt"


def persona(project: Project, name: str, role: str, script: str) -> Persona:
    return Persona.objects.create(project=project, name=name, role=role, tool="script", instructions=script)


def workflow(project: Project, *steps: tuple[str, str, bool], **fields: Any) -> Workflow:
    """(role, script, whether it is in the block)."""
    made = Workflow.objects.create(project=project, name=f"Flow {Workflow.objects.count()}", **fields)
    block = Block.objects.create(workflow=made) if any(inside for _, _, inside in steps) else None
    for position, (role, script, inside) in enumerate(steps):
        who = persona(project, f"{role} {made.pk}-{position}", role, script)
        Step.objects.create(workflow=made, position=position, persona=who, block=block if inside else None)
    return made


def loop(project: Project, **fields: Any) -> Workflow:
    return workflow(
        project, ("designer", DESIGN, True), ("checker", CHECK, True), ("optimizer", POLISH, False), **fields
    )


@pytest.fixture
def project(stack: Stack, github_server: GitHub, tmp_path: Path) -> Project:
    project, _ = stack.project(repository_url=f"{github_server.url}/acme/runs.git", default_branch="main")
    ProviderKey.objects.create(project=project, provider="github", secret=TOKEN)
    if not github_server.at("acme/runs").exists():
        github_server.repository("acme/runs", make(tmp_path / "seed", a__txt="one\n"))
    return project


def over(run: Run, seconds: float = 120) -> Run:
    """The run once it has ended and its machines are gone."""

    def ended() -> bool:
        run.refresh_from_db()
        return run.final and run.cleaned_at is not None

    try:
        wait_for(ended, f"run {run.pk} to end", seconds)
    except AssertionError as error:
        error.add_note(told(run))
        raise
    return run


def told(run: Run) -> str:
    """What there is of a run."""
    lines = [f"run {run.status} {run.reason} {run.detail} held: {run.held}"]
    for row in run.step_runs.all():
        lines.append(f"  {row} c{row.candidate}: {row.status} {row.reason} {row.detail} {row.answer}")
        if row.sandbox:
            lines.append(f"    sandbox {row.sandbox.status} {row.sandbox.wanted} {row.sandbox.detail}")
    lines += [f"  pull {pull.status} {pull.detail}" for pull in PullRequest.objects.filter(project=run.project)]
    return "\n".join(lines)


def walked(run: Run) -> list[tuple[str, int, int, str]]:
    rows = run.step_runs.order_by("id")
    return [(row.kind, row.step, row.iteration, row.status if not row.verdict else row.verdict) for row in rows]


LOOPED = [
    ("step", 0, 1, "succeeded"), ("step", 1, 1, "fail"), ("step", 0, 2, "succeeded"), ("step", 1, 2, "pass"),
    ("step", 2, 1, "succeeded"),
]  # fmt: skip


def check_loop(run: Run, hub: GitHub) -> None:
    """The run of `loop` as it has to end, whatever happened."""
    assert (run.status, run.reason) == ("completed", "finished"), told(run)
    assert walked(run) == LOOPED, told(run)
    (pull,) = [one for one in hub.pulls if one.head == run.work_branch]
    text = git(hub.at("acme/runs"), "show", f"{pull.head}:work.txt").splitlines()
    assert text == ["built 1", "built 2", "polished"]
    assert "dropped.txt" not in git(hub.at("acme/runs"), "ls-tree", "--name-only", pull.head)
    assert "Iteration 1: **fail**" in pull.body
    assert "- [x] optimizer" in pull.body
    # Each step has one machine, which is gone, and one turn for each iteration.
    sandboxes = list(Sandbox.objects.filter(labels__run_id=run.pk))
    assert len(sandboxes) == 3
    assert all(sandbox.released_at for sandbox in sandboxes)
    assert sum(sandbox.turns.count() for sandbox in sandboxes) == len(LOOPED)


def test_a_run_loops_until_it_is_approved_and_ends_in_one_pull_request(
    stack: Stack, project: Project, github_server: GitHub
) -> None:
    run = over(runs.launch(loop(project), None, prompt="Build it."))
    check_loop(run, github_server)
    first = run.step_runs.get(step=1, iteration=1)
    assert first.dropped is not None
    assert "exit status 1" in str(first.answer)
    assert run.base_commit == github_server.head("acme/runs", "main")


def test_whatever_is_killed_at_every_move_the_run_ends_as_it_should(
    stack: Stack, project: Project, github_server: GitHub
) -> None:
    run = runs.launch(loop(project), None, prompt="Build it, whoever dies.")
    victims = itertools.cycle(["worker", "postgres", "relay", "host", "web"])
    for moves in range(1, 2 * len(LOOPED) + 1):
        wait_for(partial(has_made, run, moves), f"move {moves} of the run", 120)
        kill(stack, next(victims))
    check_loop(over(run), github_server)


def has_made(run: Run, moves: int) -> bool:
    """Whether its steps have made so many moves."""
    rows = StepRun.objects.filter(run=run)
    return rows.exclude(status="waiting").count() + rows.exclude(status__in=StepRun.OPEN).count() >= moves
