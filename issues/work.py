"""Cards and the runs that do them: started from a card, followed to their end by reaction and by sweep.

run ──> runs.launch ──> begun: the card is running ──> the run moves ──> follow: completed | failed
"""

from datetime import timedelta
from typing import Any

from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from codecourier.models import User
from sandboxes.turns import NotPossible
from workflows import runs
from workflows.models import Run, Source, Workflow
from workflows.reasons import Reason

from . import answering
from .models import Issue, IssueRun, Note

S, R = Issue.Status, Run.Status
SWEEP_EVERY = 10
# A move that is under way is left to its reaction for so long.
SETTLED = timedelta(seconds=5)
GONE = "Its run is not there any more. Run it again."


def run(
    issue: Issue,
    user: User | None,
    workflow: Workflow,
    *,
    prompt: str = "",
    branch: str = "",
    request_key: str | None = None,
    **fields: Any,
) -> Run:
    """Have a workflow do a card; NotPossible while another run does. ValidationError says what can't be run.

    `prompt` is what a person made of the suggested one; `fields` are others of `runs.launch`.
    """
    if request_key and (known := Run.objects.filter(project=issue.project, request_key=request_key).first()):
        return known
    if workflow.project_id != issue.project_id:
        raise ValidationError({"workflow": "Choose a workflow of this project."})
    with transaction.atomic():
        row = Issue.objects.select_for_update().get(pk=issue.pk)
        if row.status == S.RUNNING or S.RUNNING not in Issue.EDGES[S(row.status)]:
            raise NotPossible(f"“{issue}” is {S(row.status).label.lower()}, so it was not started.")
        made = runs.launch(
            workflow, user, prompt=prompt.strip() or issue.prompt, branch=branch,
            labels={"issue": issue.pk, **fields.pop("labels", {})}, context=answering.context([issue]),
            request_key=request_key, **{"source": Source.ISSUE, **fields},
        )  # fmt: skip
        begun(row, made)
    issue.refresh_from_db()
    return made


def begun(issue: Issue, made: Run) -> None:
    """The card's status follows this run from now on."""
    IssueRun.objects.get_or_create(issue=issue, run=made)
    Issue.objects.filter(pk=issue.pk).update(run=made)
    issue.run = made
    if issue.status != S.RUNNING and S.RUNNING in Issue.EDGES[S(issue.status)]:
        issue.move(S.RUNNING, detail=f"Run {made.pk}")
    else:
        issue.nudge()


def follow_run(made: Run) -> None:
    """Bring the card of a run to where the run stands; a newer run of the same card is followed instead of an older."""
    number = made.labels.get("issue")
    issue = Issue.objects.filter(project=made.project_id, pk=number).first() if isinstance(number, int) else None
    if issue is None:
        return
    with transaction.atomic():
        if not made.final and (issue.run_id is None or issue.run_id < made.pk):
            begun(issue, made)
    if issue.run_id == made.pk:
        follow(issue)


def follow(issue: Issue) -> bool:
    """Where its run stands; True when that moved the card. A run that is gone has failed."""
    if issue.status != S.RUNNING:
        return False
    made = issue.run
    if made is None:
        return issue.move(S.FAILED, reason="lost", detail=GONE)
    if made.status == R.COMPLETED:
        return issue.move(S.COMPLETED, detail=f"Run {made.pk} is completed.")
    if made.final:
        detail = made.detail or Reason.sentence(made.reason)
        return issue.move(S.FAILED, reason=made.reason, detail=f"Run {made.pk} {made.status}: {detail}"[:2000])
    return False


def sweep() -> int:
    """Cards whose run is over or gone and that nobody told; how many there were."""
    if not cache.add("upkeep-issues", True, timeout=SWEEP_EVERY):
        return 0
    over = Q(run=None) | Q(run__status__in=[R.COMPLETED, R.FAILED, R.CANCELLED])
    rows = Issue.objects.filter(over, status=S.RUNNING, status_at__lt=timezone.now() - SETTLED)
    return sum(follow(issue) for issue in rows.select_related("run")[:200])


def retry(issue: Issue, user: User) -> Run:
    """The same workflow once more, with what is known by now; NotPossible when that one is gone."""
    last = issue.run or Run.objects.filter(issue_runs__issue=issue).order_by("-pk").first()
    workflow = last.workflow if last else None
    if last is None or workflow is None or workflow.archived_at:
        raise NotPossible(f"The workflow that “{issue}” was run with is gone. Choose another.")
    made = run(issue, user, workflow, prompt=last.prompt, branch=last.branch)
    Note.add(issue, user, f"Tried again with {workflow}")
    return made
