"""What this app adds to the frame: its entry in the navigation, the month's spending on the dashboard, banners."""

from decimal import Decimal
from typing import Any

from django.urls import reverse

from codecourier import registries
from codecourier.registries import Banner, Card, Panel

from . import budgets
from . import report as reports
from .models import Budget

PANEL = Panel(order=80, title="Usage", icon="chart-bar", url="usage:project", key="u")
# Bars of the chart on the dashboard, by percent of the dearest day.
STEPS = 20


def card(project: Any) -> Card:
    """What the project spent this month, day by day, and how its budget stands."""
    total, days = reports.month_spent(project)
    most = max((usd for _, usd in days), default=Decimal(0))
    context = {
        "project": project,
        "total": total,
        "bars": [(day, usd, round(STEPS * usd / most) if most else 0) for day, usd in days],
        "budget": Budget.objects.filter(project=project, scope=Budget.Scope.PROJECT).first(),
    }
    return Card("usage/_dashboard.html", context)


def warnings(project: Any) -> list[Banner]:
    """Budgets of the project and of the organisation that are nearly or wholly used up this month."""
    month, scopes = budgets.month_start().date(), [Budget.Scope.PROJECT, Budget.Scope.ORGANISATION]
    rows = Budget.objects.filter(level__gt=0, month=month, scope__in=scopes).select_related("project")
    return [banner(row, project) for row in rows if row.project_id in (None, project.pk)]


def banner(budget: Budget, project: Any) -> Banner:
    """How it stands, in a sentence."""
    url = reverse("usage:project-budgets", args=[project.slug])
    if budget.closed:
        return Banner("error", budgets.sentence(budget, budget.spent), url)
    whose = str(budget).removeprefix("budget of ")
    text = f"{budget.level} % of the budget of {whose} are spent: ${budget.spent:,.2f} of ${budget.amount:,.2f}."
    return Banner("warning", text, url)


def register() -> None:
    """Called once, when the app is ready."""
    registries.panels.append(PANEL)
    registries.cards.append(card)
    registries.banners.append(warnings)
