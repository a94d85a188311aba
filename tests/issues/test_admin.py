"""The administration of issues: every list and every row opens, and what runs is ended there as in the portal."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from codecourier.models import Project, User
from issues import chain as chains
from issues.models import Chain, Issue, IssueSession, IssueSettings, Question
from tests.conftest import signed_in
from tests.issues.conftest import finding, findings
from tests.issues.workflows import script


@pytest.fixture
def staff(member: User) -> Client:
    User.objects.filter(pk=member.pk).update(is_staff=True, is_superuser=True)
    return signed_in(member)


def test_everything_opens_and_runs_are_ended(
    staff: Client, shop: Project, member: User, session: IssueSession, answers: Callable[..., Any]
):
    answers(session, findings(finding(), questions=[{"text": "Why?"}]))
    chain = chains.of_issues(shop, member, script(shop), list(Issue.objects.all()))
    IssueSettings.objects.create(project=shop)
    for model in (Issue, IssueSession, IssueSettings, Question, Chain):
        name = f"admin:issues_{model._meta.model_name}"
        assert staff.get(reverse(f"{name}_changelist")).status_code == 200
        row = model._default_manager.first()
        assert row
        assert staff.get(reverse(f"{name}_change", args=[row.pk])).status_code == 200
    staff.post(reverse("admin:issues_chain_changelist"), {"action": "cancel", "_selected_action": [chain.pk]})
    chain.refresh_from_db()
    assert chain.cancel_asked
    IssueSession.objects.update(status="running")
    staff.post(reverse("admin:issues_issuesession_changelist"), {"action": "stop", "_selected_action": [session.pk]})
    assert session.sandbox
    session.sandbox.refresh_from_db()
    assert session.sandbox.wanted == "kill"
