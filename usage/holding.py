"""What budgets do to work: admit turns, tell people in time, stop what runs, and have it go on when one is raised."""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from django.db import transaction

from codecourier.models import Notification, Project, User
from sandboxes import limits
from sandboxes.models import Sandbox, Turn, Wanted
from sandboxes.reasons import Reason

from . import budgets, ledger, running
from .models import Budget, Reservation
from .running import Going

B, S = Budget.Scope, Sandbox.Status
PAGE = {True: "/p/{slug}/usage/budgets/", False: "/usage/budgets/"}


def refusal(project: Project, person: User | None, labels: Mapping[str, Any]) -> str:
    """See `registries.refusals`; what has something set aside for it is admitted already."""
    if set_aside(labels):
        return ""
    return budgets.refusal(project, person=person, run_id=ledger.number(labels.get("run_id")), cap=cap_of(labels))


def set_aside(labels: Mapping[str, Any]) -> Reservation | None:
    """What a run has set aside for the next turn of a sandbox with these labels."""
    pk = labels.get("reservation")
    rows = Reservation.objects.filter(released_at=None, turn_id=None)
    return rows.filter(pk=pk).first() if type(pk) is int else None


def cap_of(labels: Mapping[str, Any]) -> Decimal | None:
    """A run's own limit."""
    try:
        return Decimal(str(labels["cap"])) if labels.get("cap") not in (None, "") else None
    except InvalidOperation:
        return None


def admission(turn: Turn) -> str:
    """See `registries.admissions`: what the run has set aside becomes the turn's, else the usual is set aside."""
    sandbox = turn.sandbox
    labels = Sandbox.objects.values_list("labels", flat=True).get(pk=sandbox.pk)
    person, run_id = turn.created_by or sandbox.created_by, ledger.number(labels.get("run_id"))
    with transaction.atomic():
        if Reservation.objects.filter(turn_id=turn.pk).exists():
            return ""
        if not budgets.applying(sandbox.project, person, run_id, cap_of(labels)):
            return ""
        # What it used until now is exact by then, instead of what was set aside for it.
        ledger.meter(sandbox.pk)
        try:
            made = set_aside(labels) or budgets.reserve(
                sandbox.project, run_id=run_id, person=person, cap=cap_of(labels)
            )
        except budgets.Exhausted as exhausted:
            return str(exhausted)
        Reservation.objects.filter(pk=made.pk).update(turn_id=turn.pk)
    return ""


# --- looking after them ---


def watch() -> None:
    """Look at every budget: tell who can do something at 80 and 90 %, stop what runs at 100, and let go on what can."""
    go_on()
    rows = list(Budget.objects.select_related("project", "person"))
    alive = Sandbox.objects.filter(status__in=[S.CREATING, S.RUNNING]).select_related("project", "created_by")
    capped = alive.filter(labels__has_key="cap")
    if not rows and not capped.exists():
        return
    sandboxes = list(alive)
    now = running.going(sandboxes)
    for budget in rows:
        if budget.scope == B.RUN:
            stop_runs(budget.amount, [row for row in sandboxes if row.project_id == budget.project_id], now)
        else:
            look(budget, sandboxes, now)
    for sandbox in sandboxes:
        if (cap := cap_of(sandbox.labels)) is not None:
            stop_runs(cap, [row for row in sandboxes if same_run(row, sandbox)], now)


def look(budget: Budget, sandboxes: list[Sandbox], now: Going) -> None:
    """One budget of a month."""
    mine = [row for row in sandboxes if counts(budget, row)]
    used = budgets.spent(budget) + sum((now.usd.get(row.pk, Decimal(0)) for row in mine), Decimal(0))
    note(budget, used)
    if used >= budget.amount:
        stop(mine)


def note(budget: Budget, used: Decimal) -> None:
    """How it stands, told once for each level that it has reached."""
    level = max((level for level in Budget.LEVELS if used * 100 >= budget.amount * level), default=0)
    month = budgets.month_start().date()
    Budget.objects.filter(pk=budget.pk).update(month=month, spent=used, level=level)
    budget.month, budget.spent, budget.level = month, used, level
    if level:
        tell(budget, level, used)


def tell(budget: Budget, level: int, used: Decimal) -> None:
    """Those who can raise it, and the person whose it is."""
    people = {person.pk: person for person in [*budgets.raisers(budget), *([budget.person] if budget.person else [])]}
    whose = str(budget).removeprefix("budget of ")
    full = " New work is refused, and what ran is stopped with its work saved." if level == Budget.LEVELS[-1] else ""
    text = f"{level} % of the budget of {whose} are spent: ${used:,.2f} of ${budget.amount:,.2f}.{full}"
    for person in people.values():
        Notification.tell(
            person, f"budget-{budget.pk}-{budget.month:%Y-%m}-{budget.amount}-{level}", text,
            level=Notification.Level.ERROR if full else Notification.Level.WARNING, project=budget.project,
            url=PAGE[budget.project is not None].format(slug=budget.project.slug if budget.project else ""),
        )  # fmt: skip


def counts(budget: Budget, sandbox: Sandbox) -> bool:
    """Whether a sandbox spends of it."""
    mine: dict[str, Callable[[], bool]] = {
        B.ORGANISATION: lambda: True,
        B.PROJECT: lambda: sandbox.project_id == budget.project_id,
        B.PERSON: lambda: sandbox.created_by_id == budget.person_id,
        B.RUN: lambda: sandbox.project_id == budget.project_id and "run_id" in sandbox.labels,
    }
    return mine[budget.scope]()


def same_run(one: Sandbox, other: Sandbox) -> bool:
    """Whether two sandboxes work for the same run."""
    return one.labels.get("run_id") is not None and one.labels.get("run_id") == other.labels.get("run_id")


def stop_runs(most: Decimal, sandboxes: list[Sandbox], now: Going) -> None:
    """Stop the runs among these that have spent that much."""
    for run in {number for row in sandboxes if (number := ledger.number(row.labels.get("run_id"))) is not None}:
        mine = [row for row in sandboxes if ledger.number(row.labels.get("run_id")) == run]
        used = budgets.run_spent(run) + sum((now.usd.get(row.pk, Decimal(0)) for row in mine), Decimal(0))
        if used >= most:
            stop(mine)


def stop(sandboxes: Iterable[Sandbox]) -> None:
    """Stop turns, save the work, put the machines to sleep."""
    for sandbox in sandboxes:
        if sandbox.status == S.RUNNING and sandbox.wanted == Wanted.RUN:
            limits.suspend(sandbox, Reason.BUDGET)


def change(budget: Budget, user: User | None) -> int:
    """See how a budget stands that was just set, and wake what can go on by it; the number of sandboxes."""
    if budget.scope != B.RUN:
        note(budget, budgets.spent(budget))
    return go_on(user)


def go_on(user: User | None = None) -> int:
    """Wake what sleeps because a budget was used up, as far as there is something left; the number of sandboxes."""
    rows = Sandbox.objects.kept().filter(status=S.PAUSED, reason=Reason.BUDGET, wanted=Wanted.PAUSE)
    count = 0
    for sandbox in rows.select_related("project", "created_by"):
        if not refusal(sandbox.project, sandbox.created_by, sandbox.labels):
            limits.resume(sandbox, user)
            count += 1
    return count
