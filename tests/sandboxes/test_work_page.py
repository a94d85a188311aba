"""Where work goes, on the pages: the card beside a sandbox, the list of pull requests, the settings."""

from typing import Any

import pytest
from django.test import Client

from codecourier.models import AuditEntry, Project, User
from sandboxes.models import Checkpoint, PublishingSettings, PullRequest, Sandbox, Template, Turn
from tests.conftest import signed_in
from tests.sandboxes.pages import make

CHECK = {
    "name": "tests",
    "status": "completed",
    "conclusion": "failure",
    "url": "https://x.test/1",
    "summary": "2 failed",
}
COMMENT = {"who": "bob", "body": "Why this?", "at": "2026-11-23T10:00:00Z", "url": "", "path": "a.py", "line": "3"}
REVIEW = {"who": "ann", "state": "changes_requested", "said": "changes requested", "body": "Use a set.", "at": ""}


@pytest.fixture
def sandbox(project: Project, template: Template, member: User) -> Sandbox:
    """With work that is saved."""
    made = make(
        project, template, created_by=member, title="Fix the shop", work_branch="codecourier/standalone-1",
        repository_url="https://github.com/acme/shop.git",
    )  # fmt: skip
    Checkpoint.objects.create(
        sandbox=made, cause="turn", status="stored", commit="a" * 40, files=4, additions=12, deletions=3,
        left_out=[["big.bin", "larger than 100 MB"]],
    )  # fmt: skip
    return made


def requested(sandbox: Sandbox, status: str = "draft", number: int = 7, **fields: Any) -> PullRequest:
    """A pull request as it stands at GitHub."""
    return PullRequest.objects.create(
        sandbox=sandbox, project=sandbox.project, created_by=sandbox.created_by, status=status, number=number,
        url=f"https://github.com/acme/shop/pull/{number}", title="Fix the shop", branch=sandbox.work_branch,
        base="main", remote_url=sandbox.repository_url, wanted_commit="a" * 40, **fields,
    )  # fmt: skip


def page(client: Client, sandbox: Sandbox) -> str:
    return client.get(f"/p/rocket/sandboxes/{sandbox.pk}/").content.decode()


def press(client: Client, sandbox: Sandbox, verb: str) -> Any:
    return client.post(f"/p/rocket/sandboxes/{sandbox.pk}/work/{verb}/", headers={"HX-Request": "true"})


def test_saved_work_is_shown_with_what_is_not_in_it(member_client: Client, sandbox: Sandbox):
    shown = page(member_client, sandbox)
    for text in (
        "4 files",
        "+12",
        "Open pull request",
        "Push branch",
        "Not in it: big.bin",
        "Continue from here",
    ):
        assert text in shown, text


def test_work_that_could_not_be_saved_is_told(member_client: Client, sandbox: Sandbox):
    Checkpoint.objects.create(sandbox=sandbox, cause="end", status="failed", detail="The machine is gone.")
    assert "The machine is gone." in page(member_client, sandbox)


def test_without_work_there_is_no_card(member_client: Client, project: Project, template: Template):
    assert 'class="card mb-3"' not in page(member_client, make(project, template)).split('id="work"')[1][:80]


def test_a_pull_request_is_shown_with_its_checks_and_reviews(member_client: Client, sandbox: Sandbox):
    requested(sandbox, checks=[CHECK], reviews=[REVIEW], comments=[COMMENT])
    shown = page(member_client, sandbox)
    for text in (
        "#7 Fix the shop",
        "1 of 1 failed",
        "ann: changes requested",
        "Mark ready for review",
        "Update branch",
    ):
        assert text in shown, text


def test_what_github_said_is_escaped(member_client: Client, sandbox: Sandbox):
    evil = "<script>x</script> [click](javascript:alert) ![see](https://x.test/p.png)"
    said = [COMMENT | {"body": evil, "who": evil, "path": evil, "at": evil}]
    requested(sandbox, checks=[CHECK | {"name": "<script>x</script>"}], comments=said)
    shown = page(member_client, sandbox)
    assert "<script>x" not in shown
    assert 'href="javascript' not in shown
    assert "<img" not in shown.split('id="discussion"')[1].split('class="facts"')[0]


def test_what_reviewers_wrote_is_shown_in_full_oldest_first(member_client: Client, sandbox: Sandbox):
    early = COMMENT | {"body": "Use `sum`.\n\n* one\n* two", "at": "2026-11-22T10:00:00Z", "path": "", "line": ""}
    silent = REVIEW | {"who": "zoe", "body": "", "said": "approved", "state": "approved"}
    requested(sandbox, comments=[COMMENT, early], reviews=[REVIEW | {"at": "2026-11-24T10:00:00Z"}, silent])
    shown = page(member_client, sandbox).split('id="discussion"')[1].split('class="facts"')[0]
    texts = ["bob", "<code>sum</code>", "<li>two</li>", "a.py:3", "Why this?", "ann", "changes requested", "Use a set."]
    places = [shown.index(text) for text in texts]
    assert places == sorted(places)
    assert "zoe" not in shown


@pytest.mark.parametrize("verb", ["push", "open", "ready", "allow", "update", "checks", "nonsense"])
def test_strangers_find_nothing(stranger_client: Client, sandbox: Sandbox, verb: str):
    requested(sandbox)
    assert press(stranger_client, sandbox, verb).status_code == 404
    assert stranger_client.get("/p/rocket/pull-requests/").status_code == 404


def test_what_can_not_be_done_is_said(member_client: Client, sandbox: Sandbox):
    answer = press(member_client, sandbox, "open")
    assert answer.status_code == 422
    assert "a GitHub key" in answer.content.decode()
    assert press(member_client, sandbox, "nonsense").status_code == 404


def test_only_an_administrator_lets_a_secret_out(member_client: Client, sandbox: Sandbox, owner: User):
    row = requested(sandbox, "blocked", findings=[{"path": "a.py", "line": 3, "kind": "AWS access key", "mark": "m"}])
    assert "a.py:3" in page(member_client, sandbox)
    answer = press(member_client, sandbox, "allow")
    assert answer.status_code == 422
    assert "Only an administrator" in answer.content.decode()
    assert press(signed_in(owner), sandbox, "allow").status_code == 200
    row.refresh_from_db()
    assert (row.status, row.allowed) == ("pushing", ["m"])
    assert AuditEntry.objects.filter(action="secret.allowed", actor=owner).exists()


def test_failed_checks_and_reviews_become_the_next_message(member_client: Client, sandbox: Sandbox):
    requested(sandbox, checks=[CHECK], reviews=[REVIEW], comments=[COMMENT])
    for verb in ("checks", "comments"):
        assert press(member_client, sandbox, verb).status_code == 200
    first, second = Turn.objects.filter(sandbox=sandbox).order_by("pk")
    assert "2 failed" in first.prompt
    for text in ("Use a set.", "bob at a.py, line 3", "Why this?", "not as instructions"):
        assert text in second.prompt, text


def test_nothing_said_is_no_message(member_client: Client, sandbox: Sandbox):
    requested(sandbox)
    answer = press(member_client, sandbox, "comments")
    assert (answer.status_code, Turn.objects.count()) == (422, 0)


def test_the_list_is_narrowed_by_state_and_text(
    member_client: Client, sandbox: Sandbox, project: Project, template: Template
):
    requested(sandbox)
    requested(make(project, template, title="Old", work_branch="b"), "merged", 8)
    shown = member_client.get("/p/rocket/pull-requests/").content.decode()
    assert "#7" in shown
    assert "#8" not in shown
    shown = member_client.get("/p/rocket/pull-requests/?view=merged").content.decode()
    assert "#8" in shown
    for text, found in (("#7", True), ("shop", True), ("nothing like it", False)):
        shown = member_client.get("/p/rocket/pull-requests/", {"view": "all", "q": text}).content.decode()
        assert ("#7" in shown) == found, text


def test_the_list_asks_as_much_for_many_as_for_one(
    member_client: Client, sandbox: Sandbox, project: Project, template: Template, django_assert_max_num_queries: Any
):
    requested(sandbox)
    for number in range(10, 20):
        requested(make(project, template, work_branch="b"), number=number)
    member_client.get("/p/rocket/pull-requests/")
    with django_assert_max_num_queries(20):
        member_client.get("/p/rocket/pull-requests/")


def test_an_empty_list_says_what_it_is_for(member_client: Client):
    assert "No pull requests yet" in member_client.get("/p/rocket/pull-requests/").content.decode()


def test_the_settings_preview_and_save(owner: User, project: Project):
    client, url = signed_in(owner), "/p/rocket/settings/work/"
    fields = {
        "branch_pattern": "ai/{id}-{title}",
        "auto": "request",
        "draft": "on",
        "body": "Asked:\n{asked}",
        "labels": "agent",
        "updates": "merge",
    }
    shown = client.post(url, fields | {"preview": "1"}).content.decode()
    assert "ai/123-fix-the-basket" in shown
    assert not PublishingSettings.objects.exists()
    assert client.post(url, fields).status_code == 302
    saved = PublishingSettings.of(project)
    assert (saved.branch_pattern, saved.auto, saved.labels) == ("ai/{id}-{title}", "request", "agent")
    assert saved.updates == "merge"
    assert AuditEntry.objects.filter(action="publishing.changed").exists()


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("same-for-all", "{id} has to be in it"), ("{id}-{nonsense}", "nothing to fill in"),
        ("{id}..{title}", "name of a branch"),
    ],
)  # fmt: skip
def test_a_bad_pattern_is_told(owner: User, project: Project, pattern: str, told: str):
    answer = signed_in(owner).post("/p/rocket/settings/work/", {"branch_pattern": pattern, "auto": "push", "body": "x"})
    assert answer.status_code == 422
    assert told in answer.content.decode()
