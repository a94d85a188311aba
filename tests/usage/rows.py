"""Ledger rows and what stands on them, for tests."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from django.utils import timezone

from codecourier.models import Project, User
from usage import rollups
from usage.models import Budget, Entry


def entry(project: Project | None = None, **fields: Any) -> Entry:
    """A row, not saved: a thousand tokens for a tenth of a cent."""
    at = fields.setdefault("at", timezone.now())
    key = fields.setdefault("key", f"test:{Entry.objects.count()}")
    given = {
        "fact": key, "service": "anthropic", "model": "claude-sonnet-5-5", "metric": "input", "activity": "turn",
        "quantity": Decimal(1000), "price": Decimal("0.000001"), "day": at.date(), "project": project,
        "project_name": str(project or ""), **fields,
    }  # fmt: skip
    given.setdefault("cost", given["price"] * given["quantity"] if given["price"] is not None else None)
    return Entry(**given)


def spend(project: Project, usd: str, at: datetime | None = None, **fields: Any) -> None:
    """So much entered in the ledger."""
    row = entry(project, quantity=Decimal(1), price=Decimal(usd), at=at or timezone.now(), **fields)
    rollups.add(Entry.objects.bulk_create([row]))


def budget(project: Project | None = None, amount: str = "10", person: User | None = None, scope: str = "") -> Budget:
    """Of the project, the person or the organisation."""
    of = scope or ("project" if project else "person" if person else "organisation")
    return Budget.objects.create(scope=of, project=project, person=person, amount=Decimal(amount))
