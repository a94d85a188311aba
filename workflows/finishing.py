"""The end of a run: scored if it should be, pushed, told, and its machines stopped. Every step may be repeated."""

from collections.abc import Sequence

from django.db import transaction
from django.utils import timezone

from codecourier.models import User
from learnings import extraction
from sandboxes.models import PullRequest, Sandbox
from sandboxes.publishing import pulls
from sandboxes.turns import NotPossible

from . import machines, queue, report
from .models import Run, StepRun
from .models.workflow import Publish
from .plan import Finish
from .reasons import Reason

R, W = Run.Status, StepRun.Status
P = PullRequest.Status


def finish(run: Run, move: Finish, rows: Sequence[StepRun]) -> None:
    """Bring a run whose steps are over to its end, as far as it goes now."""
    last = next((row for row in rows if move.result and row.place == move.result), None)
    checkpoint = last.checkpoint if last else run.continues
    if run.checkpoint_id != (checkpoint.pk if checkpoint else None):
        Run.objects.filter(pk=run.pk).update(checkpoint=checkpoint)
        run.checkpoint = checkpoint
    if move.status == R.COMPLETED and run.manifest["evaluate"] and not scored(run):
        return
    trouble = published(run, move)
    if trouble is None:
        return
    detail = why(move, rows)
    end(run, move.status, move.reason, f"{detail} {trouble}".strip())


def end(run: Run, status: str, reason: str, detail: str) -> None:
    """The run's last move, with what was still open."""
    with transaction.atomic():
        for row in run.step_runs.open():
            row.run = run
            row.move(W.CANCELLED, reason=reason, ended_at=timezone.now())
        run.move(status, reason=reason, detail=detail, ended_at=timezone.now(), held="")


def why(move: Finish, rows: Sequence[StepRun]) -> str:
    """The sentence of the end, with that of the row that it failed at."""
    sentence = Reason.sentence(move.reason)
    at = next((row for row in rows if move.at and row.place == move.at), None)
    if at is None or move.status == R.COMPLETED:
        return sentence
    what = at.detail or (at.answer or {}).get("summary", "") if isinstance(at.answer, dict) else at.detail
    return f"{sentence} {at.spec['name']}, iteration {at.iteration}: {what}"[:1500] if what else sentence


def scored(run: Run) -> bool:
    """Whether the evaluator is done; it is started when nobody has. One that fails leaves the run without a score."""
    row = run.step_runs.filter(kind=StepRun.Kind.EVALUATOR).order_by("iteration").last()
    if row is None:
        evaluate(run)
        return False
    if row.status in StepRun.OPEN:
        return False
    if isinstance(row.answer, dict) and run.score != row.answer.get("score"):
        run.score = int(row.answer["score"])
        Run.objects.filter(pk=run.pk).update(score=run.score)
        run.nudge()
    return True


def evaluate(run: Run) -> None:
    """One more evaluator, enqueued."""
    with transaction.atomic():
        known = run.step_runs.filter(kind=StepRun.Kind.EVALUATOR).count()
        row = StepRun.objects.create(
            run=run, kind=StepRun.Kind.EVALUATOR, step=len(run.manifest["steps"]), iteration=known + 1,
            status=W.WAITING, base=run.checkpoint,
        )  # fmt: skip
        row.record("", row.status, row.created_at)
        row.nudge()
        Run.poke(run.pk)


def published(run: Run, move: Finish) -> str | None:
    """None while the branch is on its way, else what held it back, empty when nothing did."""
    asked = run.publish or run.manifest["publish"]
    if move.reason == Reason.NOT_APPROVED and not run.manifest["keep_unapproved"]:
        return ""
    if move.reason not in {Reason.FINISHED, Reason.NOT_APPROVED} or asked == Publish.NOTHING:
        return ""
    if run.checkpoint is None or run.checkpoint == run.continues or not run.repository_url:
        return "" if run.repository_url or run.checkpoint else "Nothing was changed."
    row = PullRequest.objects.filter(sandbox=run.checkpoint.sandbox_id).first()
    if row is None or row.wanted_commit != run.checkpoint.commit:
        return publish(run, move, asked)
    if row.status in {P.PUSHING}:
        return None
    if row.status == P.PUSHED and row.wants_request:
        return None
    return row.detail if row.status in {P.BLOCKED, P.FAILED} else ""


def publish(run: Run, move: Finish, asked: str) -> str | None:
    """Have the branch pushed, and a pull request opened where that is possible."""
    try:
        push(run, run.created_by, request=asked == Publish.REQUEST, draft=move.reason == Reason.NOT_APPROVED or None)
    except NotPossible as error:
        return str(error)
    return None


def push(run: Run, user: User | None, *, request: bool, draft: bool | None = None) -> None:
    """The run's result on its branch, with a pull request where that is asked for and possible; NotPossible."""
    checkpoint = run.checkpoint
    assert checkpoint  # noqa: S101 - asked before
    sandbox = checkpoint.sandbox
    if sandbox.work_branch != run.work_branch:
        # A chosen candidate's work goes on as the run's.
        Sandbox.objects.filter(pk=sandbox.pk).update(work_branch=run.work_branch)
        sandbox.work_branch = run.work_branch
    request = request and pulls.at_github(run.project, run.repository_url) is not None
    pulls.publish(
        sandbox, user, request=request, draft=draft, checkpoint=checkpoint,
        title=report.title(run), body=report.body(run),
    )  # fmt: skip


def cancel(run: Run) -> None:
    """As somebody asked: no step goes on."""
    machines.stop_all(run)
    end(run, R.CANCELLED, Reason.USER, f"{run.cancelled_by or 'Somebody'} cancelled it.")


def after(run: Run) -> None:
    """What a run that is over still needs: a score that somebody asked for, its machines stopped, the next in line."""
    if run.score_asked:
        if scored(run):
            Run.objects.filter(pk=run.pk).update(score_asked=False, cleaned_at=None)
    elif not run.cleaned_at and machines.stop_all(run):
        with transaction.atomic():
            if Run.objects.filter(pk=run.pk, cleaned_at=None).update(cleaned_at=timezone.now()):
                learn(run)
        queue.call_next()


def learn(run: Run) -> None:
    """What the run's work teaches, where the project wants to know."""
    rows = list(run.step_runs.filter(reused=False, sandbox__isnull=False).select_related("sandbox").order_by("id"))
    sandboxes = list({row.sandbox_id: row.sandbox for row in rows if row.sandbox}.values())
    if sandboxes and run.status != R.CANCELLED:
        extraction.extract(
            run.project, sandboxes, labels=machines.labels_of(run), failed=run.status == R.FAILED,
            looped=any(row.iteration > 1 and row.kind == StepRun.Kind.STEP for row in rows),
        )  # fmt: skip
