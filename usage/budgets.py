"""Budgets: who may still spend, what is set aside, and who can raise what is used up.

For whoever runs work in turns (the workflow engine):

    try:
        reservation = budgets.reserve(project, run_id=run.pk, person=run.created_by, amount=estimate, cap=run.cap_usd)
    except budgets.Exhausted as exhausted:
        ...                                     # pause the run; str(exhausted) says why and who can raise it
    labels["reservation"] = reservation.pk      # of the sandbox, before its turn is queued

`amount` is what the step usually costs in USD, None where nothing is known; `cap` is a limit of the run's own, also
given as label `cap`, a text, so that a turn is stopped by it. What was set aside is freed once the turn of the sandbox
with the label has been metered, by `reservation.release()`, or after a day. Turns of sandboxes without the label are
admitted one by one in the same way when they begin.
The check and the setting aside are one, under a lock of the database: parallel runs begin nothing once what is spent
and set aside reaches the budget, so each of them overshoots by at most the one turn that it had begun.
`refusal(project, person=..., run_id=...)` answers the same question without setting anything aside.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from django.db import connection, transaction
from django.db.models import Q, Sum
from django.utils import timezone

from codecourier.models import Membership, Project, User

from .models import Budget, Reservation, Rollup, RunSum

LOCK = 0xB0D6E7
# What a turn is taken to cost where nothing is known.
DEFAULT = Decimal("0.50")
# What nobody has released until then belongs to a turn that is long over.
FORGOTTEN = timedelta(days=1)
B = Budget.Scope


class Exhausted(Exception):
    """A budget is used up; the sentence says which and who can raise it."""


def reserve(
    project: Project,
    *,
    run_id: int | None = None,
    person: User | None = None,
    amount: Decimal | None = None,
    cap: Decimal | None = None,
) -> Reservation:
    """Set aside what a turn will cost; Exhausted when nothing is left of any budget that it counts against."""
    with transaction.atomic():
        alone()
        if sentence := refusal(project, person=person, run_id=run_id, cap=cap):
            raise Exhausted(sentence)
        amount = DEFAULT if amount is None else max(amount, Decimal(0))
        return Reservation.objects.create(project=project, person=person, run_id=run_id, amount=amount)


def alone() -> None:
    """Until the transaction ends nobody else looks at what is left."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])


def refusal(
    project: Project, *, person: User | None = None, run_id: int | None = None, cap: Decimal | None = None
) -> str:
    """Why nothing new may be begun, in a sentence; empty while there is something left."""
    for budget in applying(project, person, run_id, cap):
        used = spent(budget, run_id)
        if used + reserved(budget, run_id) >= budget.amount or budget.closed:
            return sentence(budget, max(used, budget.spent if budget.closed else used))
    return ""


def applying(
    project: Project, person: User | None = None, run_id: int | None = None, cap: Decimal | None = None
) -> list[Budget]:
    """The budgets that work in a project, by a person, in a run counts against; `cap` is the run's own."""
    which = Q(scope=B.ORGANISATION) | Q(scope=B.PROJECT, project=project)
    if person is not None:
        which |= Q(scope=B.PERSON, person=person)
    if run_id is not None:
        which |= Q(scope=B.RUN, project=project)
    own = [Budget(scope=B.RUN, project=project, amount=cap)] if run_id is not None and cap is not None else []
    return [*Budget.objects.filter(which).select_related("project", "person"), *own]


def spent(budget: Budget, run_id: int | None = None) -> Decimal:
    """USD of this month (in UTC), or of a run in all, that has been metered."""
    if budget.scope == B.RUN:
        return run_spent(run_id or 0)
    mine = {B.ORGANISATION: Q(), B.PROJECT: Q(project=budget.project_id), B.PERSON: Q(work__person=budget.person_id)}
    rows = Rollup.objects.filter(mine[B(budget.scope)], slot__gte=month_start())
    return rows.aggregate(sum=Sum("cost"))["sum"] or Decimal(0)


def run_spent(run_id: int) -> Decimal:
    """USD of a run in all that has been metered."""
    return RunSum.objects.filter(run_id=run_id).aggregate(sum=Sum("cost"))["sum"] or Decimal(0)


def reserved(budget: Budget, run_id: int | None = None) -> Decimal:
    """USD that are set aside of a budget."""
    mine = {
        B.ORGANISATION: Q(), B.PROJECT: Q(project=budget.project_id), B.PERSON: Q(person=budget.person_id),
        B.RUN: Q(project=budget.project_id, run_id=run_id or 0),
    }  # fmt: skip
    rows = Reservation.objects.filter(mine[B(budget.scope)], released_at=None, made_at__gt=timezone.now() - FORGOTTEN)
    return rows.aggregate(sum=Sum("amount"))["sum"] or Decimal(0)


def month_start(at: datetime | None = None) -> datetime:
    """When the month of that moment began; a budget's months are months in UTC."""
    return (at or timezone.now()).astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def sentence(budget: Budget, used: Decimal) -> str:
    """What is used up and who can raise it."""
    month = f" for {month_start():%B}" if budget.scope != B.RUN else ""
    whose = str(budget).removeprefix("budget of ")
    aside = ", the rest is set aside for work that runs" if used < budget.amount else ""
    said = f"The budget of {whose}{month}, ${budget.amount:,.2f}, is used up: ${used:,.2f} are spent{aside}."
    return f"{said} {who(budget)} can raise it."


def who(budget: Budget) -> str:
    """Those who can raise a budget, by name: three at most."""
    names = [str(person) for person in raisers(budget)[:4]]
    if not names:
        return "An administrator"
    return " or ".join(names[:3]) + (" or another of them" if len(names) > 3 else "")


def raisers(budget: Budget) -> list[User]:
    """A project's budgets are raised by its admins and owners, the others by administrators."""
    if budget.project_id is None:
        return list(User.objects.filter(is_staff=True, is_active=True).order_by("id"))
    roles = [Membership.Role.OWNER, Membership.Role.ADMIN]
    rows = Membership.objects.filter(project=budget.project_id, role__in=roles, user__is_active=True)
    return [row.user for row in rows.select_related("user").order_by("-role", "id")]
