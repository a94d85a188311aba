"""What other apps have against new work, such as a budget that is used up, and what becomes of work under way then."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from codecourier import registries
from codecourier.models import Project, User

from . import contracts
from .agents import AGENTS
from .models import Job, Sandbox, Turn, Wanted
from .reasons import Reason

GO_ON = (
    "You were interrupted in the middle of your work. Go on where you stopped, until what you were asked for is done."
)


def refused(project: Project, user: User | None, labels: Mapping[str, Any]) -> str:
    """Why nothing new may be begun, in a sentence; empty when it may."""
    return next((said for refusal in registries.refusals if (said := refusal(project, user, labels))), "")


def suspend(sandbox: Sandbox, reason: str) -> None:
    """Stop its turn, save its work, and put it to sleep."""
    with transaction.atomic():
        if sandbox.want(Wanted.PAUSE, reason=reason):
            Job.objects.filter(turn__sandbox=sandbox, status__in=Job.LIVE).update(stop_reason=reason)
            Sandbox.poke(sandbox.pk)


def resume(sandbox: Sandbox, user: User | None) -> None:
    """Wake what was suspended; a turn that was stopped by it is taken up by another one."""
    last = sandbox.turns.exclude(status=Turn.Status.QUEUED).order_by("position", "pk").last()
    with transaction.atomic():
        if last and last.status == Turn.Status.INTERRUPTED and last.reason == Reason.BUDGET:
            take_up(last, user)
        sandbox.want(Wanted.RUN, by=user)
        Sandbox.poke(sandbox.pk)


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
