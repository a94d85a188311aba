"""What people ask of runs: launch, cancel, again, retry from a step, score, follow up."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.utils import timezone
from django.utils.text import slugify

from codecourier import audit
from codecourier.models import User
from sandboxes import attachments, fleet, turns
from sandboxes.models import PublishingSettings, Sandbox, Template, Turn
from sandboxes.models.pull import fill
from sandboxes.turns import NotPossible

from . import estimates, finishing, manifest, pictures
from .models import Run, Source, StepRun, Workflow

R, W = Run.Status, StepRun.Status


def launch(
    workflow: Workflow,
    user: User | None,
    *,
    prompt: str,
    repository_url: str | None = None,
    branch: str = "",
    source: str = Source.MANUAL,
    overrides: Mapping[str, Any] | None = None,
    files: Sequence[UploadedFile] = (),
    request_key: str | None = None,
    work_branch: str = "",
    **fields: Any,
) -> Run:
    """A new run, enqueued. ValidationError names the field that is wrong.

    Without a repository the project's own is meant, an empty one means none. The same `request_key` again gives the run
    made the first time. `fields` are others of `Run`: checker_instructions, context, continues, labels, publish,
    cap_usd.
    """
    project = workflow.project
    if request_key and (known := Run.objects.filter(project=project, request_key=request_key).first()):
        return known
    if workflow.archived_at:
        raise ValidationError({"workflow": f"The workflow {workflow} is archived. Choose another."})
    own = repository_url is None
    run = Run(
        project=project, workflow=workflow, created_by=user, prompt=prompt, source=source, request_key=request_key,
        repository_url=repository_url if repository_url is not None else project.repository_url,
        branch=branch or (project.default_branch if own else ""), setup_script=project.setup_script,
        title=fleet.title_of(prompt), work_branch=work_branch,
        manifest={**manifest.pin(workflow, overrides), "estimate": estimates.of(workflow).to_json()},
        **fields,
    )  # fmt: skip
    return enqueue(run, files)


def enqueue(run: Run, files: Sequence[UploadedFile] = ()) -> Run:
    """Store a run that was filled in and have it looked at; ValidationError by field."""
    attachments.check(files)
    run.status, run.due_at = R.PENDING, timezone.now()
    run.full_clean(exclude=["request_key", "created_by"], validate_constraints=False)
    with transaction.atomic():
        run.save()
        if not run.work_branch:
            run.work_branch = branch_of(run)
            run.save(update_fields=["work_branch"])
        pictures.keep(run, files)
        run.record("", run.status, run.created_at)
        audit.note(run.created_by, "run.launched", run, source=run.source)
        run.nudge()
        Run.poke(run.pk)
    return run


def branch_of(run: Run) -> str:
    """By the project's pattern."""
    values = {"kind": "run", "id": str(run.pk), "title": slugify(run.title)[:40]}
    return fill(PublishingSettings.of(run.project).branch_pattern, values).rstrip("-/.")


def cancel(run: Run, user: User | None) -> None:
    """Stop it, work saved as far as it is; NotPossible when it is over."""
    with transaction.atomic():
        asked = Run.objects.filter(pk=run.pk, status__in=Run.OPEN)
        if not asked.update(cancel_asked=True, cancelled_by=user):
            raise NotPossible("This run is over already.")
        audit.note(user, "run.cancelled", run)
        run.nudge()
        Run.poke(run.pk)


def again(run: Run, user: User | None, *, request_key: str | None = None) -> Run:
    """The same once more: by the same manifest, from the same commit. The same key again gives the run made first."""
    if request_key and (known := Run.objects.filter(project=run.project, request_key=request_key).first()):
        return known
    return enqueue(copy(run, user, request_key, base_commit=run.base_commit), pictures.files(run))


def copy(run: Run, user: User | None, request_key: str | None, **fields: Any) -> Run:
    """A run like this one, not stored."""
    names = (
        "project", "workflow", "title", "prompt", "checker_instructions", "context", "repository_url", "branch",
        "setup_script", "cap_usd", "publish", "manifest", "continues", "labels",
    )  # fmt: skip
    same = {name: getattr(run, name) for name in names}
    return Run(**same, created_by=user, source=Source.MANUAL, request_key=request_key, retry_of=run, **fields)


def retry(run: Run, user: User | None, step: int, *, request_key: str | None = None) -> Run:
    """Go on from a step, with what the steps before it did, on the same branch; NotPossible while it runs.

    A step in a block begins the block's iteration in which the run ended, or the first one when it was not reached.
    """
    if not run.final:
        raise NotPossible("This run is not over yet. Cancel it first.")
    if not 0 <= step < len(run.manifest["steps"]):
        raise NotPossible("This run has no such step.")
    if request_key and (known := Run.objects.filter(project=run.project, request_key=request_key).first()):
        return known
    done = list(done_before(run, step))
    with transaction.atomic():
        made = copy(run, user, request_key, base_commit=run.base_commit, work_branch=run.work_branch)
        enqueue(made, pictures.files(run))
        for row in done:
            reuse(row, made)
    return made


def done_before(run: Run, step: int) -> list[StepRun]:
    """The rows that a retry from a step takes over: all before its place in the walk."""
    rows = list(run.step_runs.filter(kind__in=["step", "test", "judge"], status=W.SUCCEEDED).order_by("id"))
    block = next((block for block in run.manifest["blocks"] if step in block["steps"]), None)
    if block is None:
        return [row for row in rows if row.step < step]
    reached = run.step_runs.filter(kind="step", step__in=block["steps"]).values_list("iteration", flat=True)
    place = (max(reached, default=1), step)
    before = [row for row in rows if row.step < block["steps"][0]]
    return before + [row for row in rows if row.step in block["steps"] and (row.iteration, row.step) < place]


def reuse(row: StepRun, made: Run) -> None:
    """The same row in another run."""
    same = ("kind", "step", "iteration", "candidate", "started_at", "ended_at", "sandbox", "turn", "base", "checkpoint",
            "dropped", "prompt", "answer", "output", "status", "reason", "detail")  # fmt: skip
    StepRun.objects.create(run=made, reused=True, **{name: getattr(row, name) for name in same})


def ask_score(run: Run, user: User | None) -> None:
    """Have an evaluator score a run that is over; NotPossible without work to look at."""
    if not run.final:
        raise NotPossible("This run is not over yet.")
    if not run.scorable:
        raise NotPossible("Its workflow says that its runs are never scored.")
    if run.checkpoint is None:
        raise NotPossible("This run left no work that could be scored.")
    with transaction.atomic():
        if Run.objects.filter(pk=run.pk, score_asked=False).update(score_asked=True):
            audit.note(user, "run.score_asked", run)
            finishing.evaluate(run)


def publish(run: Run, user: User | None, *, request: bool) -> None:
    """Push the branch of a run that is over, with a pull request or without one; NotPossible without work."""
    if not run.final:
        raise NotPossible("This run is not over yet. Its branch is pushed when it is.")
    if run.checkpoint is None or run.checkpoint_id == run.continues_id:
        raise NotPossible("This run left no work that could be pushed.")
    if not run.repository_url:
        raise NotPossible("This run has no repository, so there is nowhere to push its branch to.")
    finishing.push(run, user, request=request)


def active(run: Run) -> Sandbox | None:
    """The sandbox that a message goes to: the one at work, else the newest that lives."""
    alive = run.sandboxes.alive().exclude(wanted="kill").order_by("-id")
    working = alive.filter(step_runs__run=run, step_runs__status__in=StepRun.OPEN).first()
    return working or alive.first()


def follow_up(run: Run, user: User, message: str, files: Sequence[UploadedFile] = ()) -> Turn:
    """A message to the run's work: to the agent at work, else to a new one on the result, whose commits go to the same
    branch and pull request. NotPossible when there is nothing to go on from; ValidationError when it says nothing."""
    sandbox = active(run) if not run.final else None
    if sandbox:
        return turns.send(sandbox, user, message, files=files)
    if not run.final:
        raise NotPossible("No agent of this run is there yet. Send it again when its first machine is made.")
    if run.checkpoint is None:
        raise NotPossible("This run left no work to go on from. Run it again.")
    writers = (step for step in reversed(run.manifest["steps"]) if step["writes"] and step["tool"] != "script")
    spec = next(writers, None)
    if spec is None:
        raise NotPossible("No agent of this run changes code, so there is none to go on with.")
    made = fleet.launch(
        run.project, user, template=Template.objects.get(pk=spec["template"]), prompt=message, files=files,
        repository_url=run.repository_url, branch=run.branch, setup_script=run.setup_script, continues=run.checkpoint,
        work_branch=run.work_branch, publish=run.publish or run.manifest["publish"], designer_model=spec["model"],
        effort=spec["effort"], cpu=spec["cpu"], memory_mb=spec["memory_mb"], labels={"follows_run": run.pk},
    )  # fmt: skip
    return made.turns.get()
