"""Budgets: nothing is begun once one is used up, not even by many at the same moment."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from codecourier.models import Project, User
from tests.conftest import person
from usage import budgets
from usage.models import Budget, Reservation

from .rows import budget, spend


def test_without_a_budget_everything_may_begin(project: Project):
    assert budgets.refusal(project) == ""
    assert budgets.reserve(project).amount == budgets.DEFAULT


def test_a_budget_that_is_used_up_is_refused_with_who_can_raise_it(project: Project, owner: User, member: User):
    budget(project, "10")
    spend(project, "9.99")
    assert budgets.refusal(project) == ""
    spend(project, "0.01")
    said = budgets.refusal(project)
    assert said.startswith(f"The budget of project Rocket for {timezone.now():%B}, $10.00, is used up: $10.00")
    assert said.endswith("Olga can raise it.")
    with pytest.raises(budgets.Exhausted, match=r"Olga can raise it\."):
        budgets.reserve(project)


def test_only_this_month_and_this_project_count(project: Project):
    other = Project.objects.create(name="Other", slug="other")
    budget(project, "10")
    spend(project, "100", budgets.month_start() - timedelta(days=1))
    spend(other, "100")
    assert budgets.refusal(project) == ""
    budget(None, "100")
    assert "The budget of the organisation" in budgets.refusal(project)
    assert "An administrator can raise it." in budgets.refusal(project)


def test_a_person_has_a_budget_over_all_projects(project: Project, owner: User, member: User):
    other = Project.objects.create(name="Other", slug="other")
    budget(person=member, amount="5")
    spend(other, "5", person=member)
    assert "The budget of Mia" in budgets.refusal(project, person=member)
    assert budgets.refusal(project, person=owner) == ""


def test_a_run_has_a_cap_for_all_of_its_time(project: Project):
    budget(project, "3", scope="run")
    spend(project, "3", budgets.month_start() - timedelta(days=1), run_id=7)
    assert "a run in Rocket, $3.00" in budgets.refusal(project, run_id=7)
    assert budgets.refusal(project, run_id=8) == budgets.refusal(project) == ""


def test_what_is_set_aside_counts_until_it_is_released(project: Project):
    budget(project, "1")
    first = budgets.reserve(project, run_id=1, amount=Decimal("1.20"))
    with pytest.raises(budgets.Exhausted):
        budgets.reserve(project, run_id=2)
    first.release()
    assert budgets.reserve(project, run_id=2)
    Reservation.objects.update(released_at=None, made_at=timezone.now() - budgets.FORGOTTEN)
    assert budgets.refusal(project) == ""


def test_raised_it_goes_on(project: Project):
    mine = budget(project, "1")
    spend(project, "1")
    with pytest.raises(budgets.Exhausted):
        budgets.reserve(project)
    Budget.objects.filter(pk=mine.pk).update(amount=2)
    assert budgets.reserve(project)


@pytest.mark.django_db(transaction=True)
def test_of_twenty_at_once_no_more_begin_than_there_is_money_for(project: Project):
    budget(project, "1.10")
    # Two more fit: after the second nothing is left.
    spend(project, "0.20")

    def begin(run: int) -> bool:
        try:
            budgets.reserve(project, run_id=run)
        except budgets.Exhausted:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(20) as threads:
        assert sum(threads.map(begin, range(20))) == 2
    assert Reservation.objects.count() == 2


def test_a_budget_is_for_one_of_its_kind(project: Project, member: User):
    budget(project)
    for wrong in (
        {"scope": "project", "project": project}, {"scope": "project"}, {"scope": "organisation", "project": project},
        {"scope": "person", "person": member, "project": project}, {"scope": "run", "person": member},
    ):  # fmt: skip
        with pytest.raises(IntegrityError), transaction.atomic():
            Budget.objects.create(amount=1, **wrong)


def test_many_who_can_raise_it_are_not_all_named(project: Project, owner: User):
    for name in ("adam", "berta", "carl"):
        person(f"{name}@example.com", project, "admin")
    assert budgets.who(budget(project)) == "Olga or Adam or Berta or another of them"
