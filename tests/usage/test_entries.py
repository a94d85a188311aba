"""The ledger only grows."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction

from codecourier.models import Project
from usage.models import Entry

from .rows import entry


def test_nobody_changes_or_deletes_a_row(project: Project):
    entry(project).save()
    rows = Entry.objects.all()
    for change in (
        lambda: rows.update(cost=0, price=0),
        lambda: rows.update(at=rows.get().at + timedelta(1)),
        rows.delete,
    ):
        with pytest.raises(IntegrityError, match="The ledger only grows"), transaction.atomic():
            change()


def test_a_fact_is_recorded_once(project: Project):
    entry(project, key="a").save()
    with pytest.raises(IntegrityError), transaction.atomic():
        entry(project, key="a").save()


def test_a_cost_is_its_price_times_its_quantity(project: Project):
    with pytest.raises(IntegrityError, match="entry_cost_is_the_product"):
        entry(project, cost=1).save()


def test_a_deleted_project_keeps_its_rows_as_they_were(project: Project):
    entry(project).save()
    number = project.pk
    project.delete()
    kept = Entry.objects.get()
    assert (kept.project_id, kept.project_name) == (number, "Rocket")
