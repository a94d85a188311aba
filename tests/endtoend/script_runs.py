"""A workflow of scripts that loops, is checked and polished, and what has to be left of its run."""

from pathlib import Path
from typing import Any

from django.db.models import Sum

from codecourier.models import Project, ProviderKey
from personas.models import Persona
from sandboxes.bill import bill
from sandboxes.models import PullRequest, Sandbox
from tests.githubserver.server import TOKEN, GitHub
from tests.sandboxes.repositories import git, make
from tests.stack import Stack, wait_for
from usage import ledger
from usage.models import Entry, Meter
from workflows import runs
from workflows.models import Block, Run, Step, Workflow

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


def project(stack: Stack, hub: GitHub, name: str, seed: Path) -> Project:
    """A new project whose repository is `name` at GitHub, made from a seed when it isn't there."""
    made, _ = stack.project(repository_url=f"{hub.url}/{name}.git", default_branch="main")
    ProviderKey.objects.create(project=made, provider="github", secret=TOKEN)
    if not hub.at(name).exists():
        hub.repository(name, make(seed, a__txt="one\n"))
    return made


def launch(project: Project) -> Run:
    """A run of the loop."""
    return runs.launch(loop(project), None, prompt="Build it.")


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


def check(run: Run, hub: GitHub, name: str) -> None:
    """The run of `loop` as it has to end, whatever happened."""
    assert (run.status, run.reason) == ("completed", "finished"), told(run)
    assert walked(run) == LOOPED, told(run)
    (pull,) = [one for one in hub.pulls if one.head == run.work_branch]
    text = git(hub.at(name), "show", f"{pull.head}:work.txt").splitlines()
    assert text == ["built 1", "built 2", "polished"]
    assert "dropped.txt" not in git(hub.at(name), "ls-tree", "--name-only", pull.head)
    assert "Iteration 1: **fail**" in pull.body
    assert "- [x] optimizer" in pull.body
    # Each step has one machine, which is gone, and one turn for each iteration.
    sandboxes = list(Sandbox.objects.filter(labels__run_id=run.pk))
    assert len(sandboxes) == 3
    assert all(sandbox.released_at for sandbox in sandboxes)
    assert sum(sandbox.turns.count() for sandbox in sandboxes) == len(LOOPED)
    for sandbox in sandboxes:
        check_metered(sandbox)


def check_metered(sandbox: Sandbox) -> None:
    """The ledger has every second that the machine ran, once, whatever was killed."""
    wait_for(lambda: Meter.objects.filter(sandbox_id=sandbox.pk, closed=True).exists(), "the machine to be metered")
    assert ledger.meter(sandbox.pk) == 0
    made = bill(sandbox, sandbox.turns.all(), sandbox.phases.all())
    # A machine that outlived its row, because its worker was killed, is entered as what it was.
    rows = Entry.objects.filter(sandbox_id=sandbox.pk, metric="vcpu_seconds").exclude(activity="orphan")
    metered = rows.aggregate(sum=Sum("quantity"))["sum"]
    assert sandbox.real_cpu
    assert metered == made.seconds * sandbox.real_cpu
    assert metered > 0
