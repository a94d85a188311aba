"""What other apps have against new work, such as a budget that is used up, and what becomes of work under way then."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db import transaction

from codecourier import registries
from codecourier.models import Project, User

from . import contracts
from .agents import AGENTS
from .models import Job, Sandbox, Turn, Wanted
from .reasons import Reason

# So long a turn may take to end before it falls asleep with its machine.
PATIENCE = timedelta(minutes=1)
GO_ON = (
    "You were interrupted in the middle of your work. Go on where you stopped, until what you were asked for is done."
)


def refused(project: Project, user: User | None, labels: Mapping[str, Any]) -> str:
    """Why nothing new may be begun, in a sentence; empty when it may."""
    return next((said for refusal in registries.refusals if (said := refusal(project, user, labels))), "")


def suspend(sandbox: Sandbox, reason: str) -> None:
    """Stop its turn, save its work, and put it to sleep."""
    with transaction.atomic():
        if sandbox.want(Wanted.PAUSE, reason=reason, within=PATIENCE):
            Job.objects.filter(turn__sandbox=sandbox, status__in=Job.LIVE).update(stop_reason=reason)
            Sandbox.poke(sandbox.pk)


def resume(sandbox: Sandbox, user: User | None) -> None:
    """Wake what was suspended; a turn that was stopped by it is taken up by another one."""
    last = sandbox.turns.exclude(status=Turn.Status.QUEUED).select_related("job").order_by("position", "pk").last()
    with transaction.atomic():
        if last and (was_stopped(last) or not spared(last)):
            take_up(last, user)
        sandbox.want(Wanted.RUN, by=user)
        Sandbox.poke(sandbox.pk)


def was_stopped(turn: Turn) -> bool:
    """Whether it ended by the budget."""
    return turn.status == Turn.Status.INTERRUPTED and turn.reason == Reason.BUDGET


def spared(turn: Turn) -> bool:
    """Whether it simply goes on: it is over, or fell asleep with its machine before anybody asked it to end."""
    if turn.status != Turn.Status.RUNNING or turn.job is None:
        return True
    rows = Job.objects.filter(pk=turn.job.pk, stop_asked_at=None)
    return bool(rows.update(stop_reason="")) or turn.job.stop_reason != Reason.BUDGET


def take_up(turn: Turn, user: User | None) -> Turn:
    """A turn that goes on with one that was stopped, before whatever else waits; for a script the same once more."""
    speaks = AGENTS[turn.sandbox.tool].structured
    following = Turn(
        sandbox=turn.sandbox, created_by=user or turn.created_by, status=Turn.Status.QUEUED, position=turn.position,
        contract=turn.contract, repairs=turn if turn.contract else None, model=turn.model, effort=turn.effort,
        prompt=GO_ON if speaks else turn.prompt,
    )  # fmt: skip
    following.save()
    contracts.put(following)
    following.record("", following.status, following.created_at)
    following.nudge()
    return following
