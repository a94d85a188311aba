"""GitHub's deliveries: signed with the project's secret, taken once, believed only in which request to ask for."""

import hashlib
import hmac
import json
from typing import Any

import pytest
from django.test import Client
from django_q.models import OrmQ

from codecourier.models import AuditEntry, Project, User
from sandboxes.models import Delivery, PublishingSettings, PullRequest, Sandbox, Template
from sandboxes.publishing import hooks
from tests.conftest import signed_in
from tests.sandboxes.pages import make

SECRET = "s3cret-of-the-webhook"
PULL = {"pull_request": {"number": 7, "state": "closed", "merged": True}, "repository": {"full_name": "Acme/shop"}}


@pytest.fixture
def row(project: Project, template: Template) -> PullRequest:
    PublishingSettings.objects.create(project=project, webhook_secret=SECRET)
    sandbox: Sandbox = make(project, template, repository_url="https://github.com/acme/shop.git")
    return PullRequest.objects.create(
        sandbox=sandbox, project=project, status="open", number=7, branch="b", remote_url=sandbox.repository_url,
        wanted_commit="a" * 40, pushed_commit="a" * 40,
    )  # fmt: skip


def deliver(body: Any, secret: str = SECRET, number: str = "n-1", slug: str = "rocket", **headers: str) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    signature = "sha256=" + hmac.new(secret.encode(), data, hashlib.sha256).hexdigest()
    sent = {"X-Hub-Signature-256": signature, "X-GitHub-Delivery": number, "X-GitHub-Event": "pull_request"} | headers
    client = Client(enforce_csrf_checks=True)
    return client.post(f"/p/{slug}/hooks/github/", data, content_type="application/json", headers=sent)


def looked() -> int:
    """How often a pull request is about to be looked at."""
    return int(OrmQ.objects.count())


def test_a_delivery_has_its_pull_request_asked_for_and_believes_nothing(row: PullRequest):
    answer = deliver(PULL)
    assert (answer.status_code, looked()) == (202, 1)
    row.refresh_from_db()
    assert row.status == "open"
    assert row.due_at


@pytest.mark.parametrize(
    "body",
    [
        {"check_run": {"head_sha": "a" * 40, "pull_requests": []}, "repository": {"full_name": "acme/shop"}},
        {"check_run": {"head_sha": "", "pull_requests": [{"number": 7}]}, "repository": {"full_name": "acme/shop"}},
        {"issue": {"number": 7}, "comment": {"body": "x"}, "repository": {"full_name": "acme/shop"}},
        {"sha": "a" * 40, "state": "failure", "repository": {"full_name": "acme/shop"}},
    ],
    ids=["check of a commit", "check of a request", "comment", "status"],
)
def test_every_kind_of_event_finds_it(row: PullRequest, body: dict[str, Any]):
    assert deliver(body).status_code == 202
    assert looked() == 1


@pytest.mark.parametrize(
    "body",
    [
        {"pull_request": {"number": 7}, "repository": {"full_name": "acme/other"}},
        {"pull_request": {"number": 8}, "repository": {"full_name": "acme/shop"}},
        {"zen": "Keep it logically awesome.", "repository": {"full_name": "acme/shop"}},
        {"pull_request": "7", "issue": [], "check_run": {"pull_requests": ["x"]}, "repository": None},
        {},
    ],
)
def test_what_concerns_nobody_here_is_taken_and_does_nothing(row: PullRequest, body: dict[str, Any]):
    assert (deliver(body).status_code, looked()) == (202, 0)


def test_a_replay_does_nothing(row: PullRequest):
    deliver(PULL)
    assert deliver(PULL).status_code == 202
    assert looked() == 1
    assert deliver(PULL, number="n-2").status_code == 202
    assert looked() == 2
    assert Delivery.objects.count() == 2


def test_what_nobody_signed_is_refused(row: PullRequest, project: Project):
    for answer in (
        deliver(PULL, secret="another"), deliver(PULL, **{"X-Hub-Signature-256": ""}), deliver(PULL, slug="nowhere"),
    ):  # fmt: skip
        assert answer.status_code == 403
        assert "signature" in answer.json()["message"]
    PublishingSettings.objects.update(webhook_secret="")
    assert deliver(PULL, secret="").status_code == 403
    assert (looked(), Delivery.objects.count()) == (0, 0)


@pytest.mark.parametrize(("body", "told"), [(b"payload=%7B%7D", "application/json"), (b"[]", "no JSON object")])
def test_what_is_no_payload_is_told(row: PullRequest, body: bytes, told: str):
    answer = deliver(body)
    assert answer.status_code == 403
    assert told in answer.json()["message"]


def test_what_is_too_large_is_told(row: PullRequest, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hooks, "MOST_BYTES", 10)
    assert deliver(PULL).status_code == 413


def test_an_administrator_makes_a_secret_that_is_shown_once(owner: User, member: User, project: Project):
    url = "/p/rocket/settings/work/"
    assert signed_in(member).post(url, {"secret": "1"}).status_code == 404
    client = signed_in(owner)
    assert "deliveries are refused" in client.get(url).content.decode()
    shown = client.post(url, {"secret": "1"}).content.decode()
    secret = PublishingSettings.of(project).webhook_secret
    assert secret
    assert secret in shown
    assert "/p/rocket/hooks/github/" in shown
    assert secret not in client.get(url).content.decode()
    assert AuditEntry.objects.filter(action="webhook.renewed").exists()
    assert deliver({}, secret=secret).status_code == 202
