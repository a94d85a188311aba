"""The machines of a run: each step has its own, keeps it while its block repeats, and rests meanwhile."""

from collections.abc import Sequence
from decimal import Decimal
from io import BytesIO
from typing import Any

from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.utils import timezone

from personas.briefing import Briefing
from sandboxes import fleet, turns
from sandboxes.models import Kind, Sandbox, Template, Turn, Wanted
from sandboxes.reasons import Reason
from sandboxes.turns import NotPossible
from usage import budgets, estimates

from . import pictures, prompts
from .models import Run, StepRun
from .plan import block_of

W = StepRun.Status
KINDS = {
    StepRun.Kind.STEP: Kind.STEP, StepRun.Kind.TEST: Kind.STEP,
    StepRun.Kind.JUDGE: Kind.JUDGE, StepRun.Kind.EVALUATOR: Kind.EVALUATOR,
}  # fmt: skip
PATCH_BYTES = 4 * 2**20
ZERO = Decimal(0)


class Held(Exception):
    """The step has to wait; the sentence says for what, and who can do something about it."""


def employ(row: StepRun) -> None:
    """A machine for a waiting row, with the turn in it: the one of the iteration before, else a new one.

    Rows only, in one transaction: a worker that dies here leaves all of it or nothing. ValidationError when the
    configuration can't work, Held when it has to wait.
    """
    if waits_for_base(row):
        raise Held("The first machine is being made; the others begin with the same commit.")
    spec = row.spec if row.kind != StepRun.Kind.TEST else tester(row)
    prompt = told(row, spec)
    kept = before(row)
    with transaction.atomic():
        money = set_aside(row, spec)
        sandbox, turn = (again(row, kept, prompt, spec, money) if kept else None) or fresh(row, prompt, spec, money)
        row.move(W.RUNNING, sandbox=sandbox, turn=turn, prompt=prompt, started_at=timezone.now())


def set_aside(row: StepRun, spec: dict[str, Any]) -> dict[str, Any]:
    """Labels of what is reserved for the turn; Held while a budget has nothing left."""
    run, person = row.run, row.run.created_by
    cap = {} if run.cap_usd is None else {"cap": str(run.cap_usd)}
    if not budgets.applying(run.project, person, run.pk, run.cap_usd):
        return cap
    usual = estimates.step(run.project, run.manifest["workflow"]["id"], row.step) if spec["tool"] != "script" else ZERO
    try:
        made = budgets.reserve(run.project, run_id=run.pk, person=person, amount=usual, cap=run.cap_usd)
    except budgets.Exhausted as exhausted:
        raise Held(str(exhausted)) from exhausted
    return {**cap, "reservation": made.pk}


def waits_for_base(row: StepRun) -> bool:
    """Candidates begin with one commit: that at which the first of them was cloned, as soon as it is known."""
    if row.base_id or row.run.base_commit or not row.run.repository_url:
        return False
    return row.run.step_runs.filter(sandbox__status=Sandbox.Status.CREATING).exists()


def told(row: StepRun, spec: dict[str, Any]) -> str:
    """What the row's agent is told."""
    if row.kind == StepRun.Kind.TEST:
        return str(spec["script"])
    if row.kind == StepRun.Kind.JUDGE:
        return prompts.judge(row, spec, candidates(row))
    return prompts.compose(row, spec)


def tester(row: StepRun) -> dict[str, Any]:
    """Who tests a candidate: a script on a machine of the candidate's size."""
    spec = row.spec
    template = Template.objects.filter(tool="script", active=True).order_by("slug").first()
    return {
        **spec, "name": f"Test of {row.letter}", "tool": "script", "template": template.pk if template else 0,
        "model": "", "effort": "", "contract": "", "script": row.run.manifest["steps"][row.step]["test_script"],
    }  # fmt: skip


def candidates(row: StepRun) -> list[StepRun]:
    """Those that a judge chooses among."""
    found = row.run.step_runs.filter(
        kind=StepRun.Kind.STEP, step=row.step, iteration=row.iteration, status=W.SUCCEEDED
    ).select_related("checkpoint", "base")
    return list(found.order_by("candidate"))


def before(row: StepRun) -> Sandbox | None:
    """The machine of the same step in the iteration before, if it can go on."""
    if row.kind != StepRun.Kind.STEP or row.iteration == 1:
        return None
    last = row.run.step_runs.filter(
        kind=row.kind, step=row.step, candidate=row.candidate, iteration=row.iteration - 1, sandbox__isnull=False
    ).first()
    sandbox = last.sandbox if last else None
    return None if sandbox is None or sandbox.final or sandbox.wanted == Wanted.KILL else sandbox


def again(
    row: StepRun, sandbox: Sandbox, prompt: str, spec: dict[str, Any], money: dict[str, Any]
) -> tuple[Sandbox, Turn] | None:
    """The next turn in a machine that rested; None when it ended meanwhile."""
    sandbox.labels = {**sandbox.labels, "iteration": row.iteration, **money}
    Sandbox.objects.filter(pk=sandbox.pk).update(labels=sandbox.labels)
    try:
        turn = turns.send(sandbox, row.run.created_by, prompt, contract=spec["contract"], onto=row.base)
    except NotPossible:
        return None
    return sandbox, turn


def fresh(row: StepRun, prompt: str, spec: dict[str, Any], money: dict[str, Any]) -> tuple[Sandbox, Turn]:
    """A new machine with its first turn, on the work so far."""
    run = row.run
    template = Template.objects.filter(pk=spec["template"]).first()
    if template is None:
        raise ValidationError(f"The template that {spec['name']} ran on is gone. Launch the workflow again.")
    sandbox = fleet.launch(
        run.project, run.created_by, template=template, prompt=prompt, pinned=Briefing.from_json(spec["briefing"]),
        request_key=f"step-run-{row.pk}", contract=spec["contract"], files=files(row, spec),
        kind=KINDS[StepRun.Kind(row.kind)],
        labels={**labels(row, spec), **money}, designer_model=spec["model"], effort=spec["effort"], cpu=spec["cpu"],
        memory_mb=spec["memory_mb"], timeout_ms=spec["timeout_ms"], repository_url=run.repository_url,
        branch=run.branch, at_commit="" if row.base else run.base_commit, setup_script=run.setup_script,
        continues=row.base, work_branch=branch(row),
        publish="nothing",
    )  # fmt: skip
    fleet.retitle(sandbox, f"{spec['name']}: {run}"[:200])
    turn = sandbox.turns.order_by("position", "pk").first()
    assert turn  # noqa: S101 - it was made with it
    return sandbox, turn


def branch(row: StepRun) -> str:
    """What its work is committed on: the run's branch, of a candidate one beside it."""
    return f"{row.run.work_branch}-c{row.candidate}" if row.candidate else row.run.work_branch


def labels(row: StepRun, spec: dict[str, Any]) -> dict[str, Any]:
    """What the ledger and the lessons know its sandbox by."""
    return {
        **labels_of(row.run), "step": row.step, "step_kind": row.kind, "iteration": row.iteration,
        "candidate": row.candidate, "persona": spec["persona"], "persona_id": spec["persona_id"], "role": spec["role"],
    }  # fmt: skip


def labels_of(run: Run) -> dict[str, Any]:
    """Those that all sandboxes of a run have."""
    return {
        **run.labels, "run": str(run), "run_id": run.pk, "workflow": run.workflow_name,
        "workflow_id": run.manifest["workflow"]["id"], "source": run.source,
    }  # fmt: skip


def files(row: StepRun, spec: dict[str, Any]) -> list[UploadedFile]:
    """The run's reference images, and for a judge the candidates' patches, without names."""
    if spec["tool"] == "script":
        return []
    found = pictures.files(row.run)
    if row.kind == StepRun.Kind.JUDGE:
        for one in candidates(row):
            data = prompts.patch(row.run, one.checkpoint, one.base, PATCH_BYTES)
            found.append(UploadedFile(BytesIO(data), f"{one.letter}.patch", size=len(data)))
    return found


def rest(run: Run, rows: Sequence[StepRun]) -> None:
    """Machines whose step is over: those that may be needed again sleep, the others end."""
    busy = {row.sandbox_id for row in rows if row.status in StepRun.OPEN}
    for row in rows:
        sandbox = row.sandbox
        if sandbox is None or sandbox.pk in busy or sandbox.final or sandbox.wanted == Wanted.KILL or row.reused:
            continue
        if may_return(run, row, rows):
            if sandbox.status == Sandbox.Status.RUNNING and sandbox.wanted == Wanted.RUN and idle(sandbox):
                fleet.pause(sandbox, None, Reason.IDLE)
        elif sandbox.kind == Kind.STEP:
            fleet.stop(sandbox, None, Reason.FINISHED)


def idle(sandbox: Sandbox) -> bool:
    """Nothing of a person's waits or runs in it."""
    return not sandbox.turns.unfinished().exists() and not sandbox.checkpoints.open().exists()


def may_return(run: Run, row: StepRun, rows: Sequence[StepRun]) -> bool:
    """Whether the row's step may come again: its block is not done yet."""
    block = block_of(run.manifest, row.step)
    if block is None or row.kind != StepRun.Kind.STEP or row.iteration >= block["most"]:
        return False
    return not any(other.step > block["steps"][-1] for other in rows)


def stop_all(run: Run) -> bool:
    """End every machine of the run; True when all have ended."""
    alive = [sandbox for sandbox in run.sandboxes.filter(kind__in=KINDS.values()) if not sandbox.final]
    for sandbox in alive:
        if sandbox.wanted != Wanted.KILL:
            fleet.stop(sandbox, None, Reason.FINISHED)
    return not alive
