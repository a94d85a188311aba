"""Work becomes a pull request once: over every fault, whatever is killed between any two steps."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from codecourier.models import Notification, Project, ProviderKey, User
from sandboxes import tasks
from sandboxes.checkpoints.store import Store, ref_of
from sandboxes.models import Checkpoint, PublishingSettings, PullRequest, Sandbox, Template, Turn
from sandboxes.publishing import pulls
from sandboxes.turns import NotPossible
from tests.githubserver.server import READ_ONLY, TOKEN, GitHub
from tests.sandboxes.pages import make as make_sandbox
from tests.sandboxes.repositories import commit, git, keep, make, write

SHOP = "acme/shop"
Work = Callable[[], int]
AWS = "AKIA" + "ABCDEFGHIJKLMNOP"


@pytest.fixture
def clone(hub: GitHub, project: Project, settings: Any, tmp_path: Path) -> Path:
    """Where the agent works: a clone of a private repository that the project has a key for."""
    settings.STATE = tmp_path / "state"
    settings.PROVIDER_URLS = settings.PROVIDER_URLS | {"github": hub.api}
    ProviderKey.objects.create(project=project, provider="github", secret=TOKEN)
    seed = make(tmp_path / "seed", a__txt="one\n", b__txt="two\n")
    hub.repository(SHOP, seed)
    git(tmp_path, "clone", "-q", str(hub.at(SHOP)), "clone")
    return tmp_path / "clone"


@pytest.fixture
def sandbox(clone: Path, hub: GitHub, project: Project, template: Template, member: User) -> Sandbox:
    """Its work is on a branch of its own."""
    branch = "codecourier/standalone-1-fix"
    git(clone, "checkout", "-q", "-b", branch)
    return make_sandbox(
        project, template, created_by=member, title="Fix the shop", work_branch=branch,
        repository_url=f"{hub.url}/{SHOP}.git", start_commit=git(clone, "rev-parse", "HEAD"),
    )  # fmt: skip


def saved(sandbox: Sandbox, clone: Path, **files: str) -> Checkpoint:
    """A turn that changed files, and its checkpoint, as the machine would have handed it over."""
    write(clone, **files)
    commit(clone, f"Change {', '.join(files)}")
    turn = Turn.objects.create(sandbox=sandbox, prompt="Fix it", status=Turn.Status.SUCCEEDED)
    row = Checkpoint.objects.create(sandbox=sandbox, turn=turn, cause="turn", status=Checkpoint.Status.TAKING)
    row.move(Checkpoint.Status.STORED, commit=keep(Store.of(sandbox.project), clone, ref_of(sandbox.pk, row.pk)))
    return row


def look(row: PullRequest) -> PullRequest:
    """What the sweep does when a row's time has come."""
    PullRequest.objects.filter(pk=row.pk).update(not_before=None, lease_until=None)
    tasks.advance_pull_request.func(row.pk)
    row.refresh_from_db()
    return row


def shown(hub: GitHub, row: PullRequest, path: str) -> str:
    """A file of the branch at the remote."""
    return git(hub.at(SHOP), "show", f"{row.branch}:{path}")


@pytest.fixture
def opened(sandbox: Sandbox, clone: Path, member: User, work: Work) -> PullRequest:
    """A draft with one commit."""
    saved(sandbox, clone, a__txt="ONE\n")
    row = pulls.publish(sandbox, member, request=True)
    work()
    row.refresh_from_db()
    return row


def test_the_work_becomes_a_draft_and_follows_up_there(
    opened: PullRequest, hub: GitHub, sandbox: Sandbox, clone: Path, work: Work
):
    (pull,) = hub.pulls
    assert (opened.status, opened.number, opened.url) == ("draft", 1, f"{hub.url}/{SHOP}/pull/1")
    assert (pull.title, pull.head, pull.base, pull.draft) == ("Fix the shop", sandbox.work_branch, "main", True)
    assert "> Fix it" in pull.body
    assert hub.head(SHOP, sandbox.work_branch) == git(clone, "rev-parse", "HEAD")
    saved(sandbox, clone, b__txt="TWO\n")
    work()
    opened.refresh_from_db()
    assert opened.status == "draft"
    assert hub.head(SHOP, sandbox.work_branch) == git(clone, "rev-parse", "HEAD") == opened.pushed_commit
    assert len(hub.pulls) == 1
    assert [note.text for note in Notification.objects.all()] == ["Fix the shop: pull request #1 is open as a draft."]


def test_a_branch_alone_is_pushed_and_told(sandbox: Sandbox, clone: Path, hub: GitHub, member: User, work: Work):
    saved(sandbox, clone, a__txt="ONE\n")
    row = pulls.publish(sandbox, member)
    work()
    row.refresh_from_db()
    assert (row.status, row.number) == ("pushed", None)
    assert hub.head(SHOP, sandbox.work_branch)
    pulls.publish(sandbox, member, request=True)
    work()
    row.refresh_from_db()
    assert (row.status, row.number) == ("draft", 1)


def test_it_happens_by_itself_where_the_project_wants_it(
    sandbox: Sandbox, clone: Path, hub: GitHub, project: Project, work: Work
):
    PublishingSettings.objects.create(
        project=project, auto="request", draft=False, labels="agent, shop", reviewers="ann"
    )
    saved(sandbox, clone, a__txt="ONE\n")
    work()
    (pull,) = hub.pulls
    assert (pull.draft, pull.labels, pull.reviewers) == (False, ["agent", "shop"], ["ann"])
    assert PullRequest.objects.get().status == "open"


def test_a_sandbox_may_say_otherwise(sandbox: Sandbox, clone: Path, hub: GitHub, project: Project, work: Work):
    PublishingSettings.objects.create(project=project, auto="request")
    Sandbox.objects.filter(pk=sandbox.pk).update(publish="nothing")
    saved(sandbox, clone, a__txt="ONE\n")
    work()
    assert not PullRequest.objects.exists()
    assert not hub.requests


def test_nothing_is_pushed_before_there_is_something(sandbox: Sandbox, member: User):
    with pytest.raises(NotPossible, match="Nothing is saved yet"):
        pulls.publish(sandbox, member, request=True)


def test_without_a_key_a_branch_can_be_had_but_no_request(
    sandbox: Sandbox, clone: Path, member: User, project: Project
):
    saved(sandbox, clone, a__txt="ONE\n")
    project.keys.all().delete()
    with pytest.raises(NotPossible, match="a GitHub key"):
        pulls.publish(sandbox, member, request=True)


def test_a_secret_holds_it_back_until_an_admin_allows_it(
    sandbox: Sandbox, clone: Path, hub: GitHub, owner: User, work: Work
):
    saved(sandbox, clone, a__txt=f"one\nkey = {AWS}\n")
    row = pulls.publish(sandbox, owner, request=True)
    work()
    row.refresh_from_db()
    assert (row.status, row.findings[0]["path"], row.findings[0]["line"]) == ("blocked", "a.txt", 2)
    assert "a.txt, line 2" in row.detail
    assert AWS not in str(row.findings) + row.detail
    assert not hub.head(SHOP, sandbox.work_branch)
    pulls.allow(row, owner)
    work()
    row.refresh_from_db()
    assert row.status == "draft"
    saved(sandbox, clone, b__txt=f"{AWS[:-1]}Q\n")
    work()
    row.refresh_from_db()
    assert row.status == "blocked", "only what was seen is allowed"


@pytest.mark.parametrize("status", [0, 500, 502])
def test_a_fault_that_passes_is_tried_again(
    sandbox: Sandbox, clone: Path, hub: GitHub, member: User, work: Work, status: int
):
    saved(sandbox, clone, a__txt="ONE\n")
    hub.fail("POST", "/pulls$", status)
    row = pulls.publish(sandbox, member, request=True)
    work()
    row.refresh_from_db()
    assert row.status == "pushing"
    assert row.not_before
    assert "tried again" in row.detail
    row = look(row)
    assert (row.status, row.detail, row.tries, len(hub.pulls)) == ("draft", "", 0, 1)


def test_a_limit_is_waited_for_by_nobody(sandbox: Sandbox, clone: Path, hub: GitHub, member: User, work: Work):
    saved(sandbox, clone, a__txt="ONE\n")
    reset = timezone.now() + timedelta(minutes=20)
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(reset.timestamp()))}
    hub.fail("GET", "/pulls$", 403, headers=headers, answer={"message": "API rate limit exceeded"})
    row = pulls.publish(sandbox, member, request=True)
    work()
    row.refresh_from_db()
    assert row.not_before
    assert abs(row.not_before - reset) < timedelta(seconds=2)
    assert row.next_look() == row.not_before
    asked = len(hub.requests)
    tasks.advance_pull_request.func(row.pk)
    assert len(hub.requests) == asked, "it asked before its time"
    assert look(row).status == "draft"


def test_what_does_not_pass_is_a_persons(
    sandbox: Sandbox, clone: Path, hub: GitHub, member: User, project: Project, work: Work
):
    saved(sandbox, clone, a__txt="ONE\n")
    project.keys.update(secret=READ_ONLY)
    row = pulls.publish(sandbox, member, request=True)
    work()
    row.refresh_from_db()
    assert row.status == "failed"
    assert "may not write there" in row.detail
    assert Notification.objects.get().level == "error"
    key = project.keys.get()
    key.secret = TOKEN
    key.save()
    pulls.retry(row, member)
    work()
    row.refresh_from_db()
    assert (row.status, row.detail) == ("draft", "")


def test_it_gives_up_at_some_time(sandbox: Sandbox, clone: Path, hub: GitHub, member: User, work: Work):
    saved(sandbox, clone, a__txt="ONE\n")
    hub.fail("GET", "/pulls$", 503, times=100)
    row = pulls.publish(sandbox, member, request=True)
    work()
    for _ in range(pulls.GIVE_UP):
        look(row)
    assert row.status == "failed"


def test_people_at_github_and_here_ask_for_the_same_things(opened: PullRequest, hub: GitHub, member: User, work: Work):
    (pull,) = hub.pulls
    for what, status in (("ready", "open"), ("draft", "draft"), ("close", "closed"), ("reopen", "draft")):
        pulls.wish(opened, member, what)
        work()
        opened.refresh_from_db()
        assert (opened.status, opened.asked) == (status, "")
    pull.draft = False
    assert look(opened).status == "open"
    hub.check(pull, "tests", None)
    hub.review(pull, "ann", "APPROVED", "Good.")
    assert look(opened).verdict == "running"
    hub.check(pull, "tests", "failure", "2 failed")
    assert look(opened).verdict == "failed"
    assert opened.reviews[0]["who"] == "ann"
    pull.state, pull.merged = "closed", True
    assert look(opened).status == "merged"
    assert opened.next_look() is None
    with pytest.raises(NotPossible, match="merged already"):
        pulls.publish(opened.sandbox, member)


@pytest.fixture
def theirs(hub: GitHub, clone: Path) -> Callable[..., None]:
    """Has somebody else push to the base branch."""
    other = clone.parent / "other"
    git(clone.parent, "clone", "-q", str(hub.at(SHOP)), "other")

    def push(**files: str) -> None:
        write(other, **files)
        git(commit(other, "Theirs"), "push", "-q", "origin", "main")

    return push


def updated(row: PullRequest, member: User, work: Work) -> PullRequest:
    pulls.update(row, member)
    work()
    row.refresh_from_db()
    return row


def log(hub: GitHub, row: PullRequest) -> list[str]:
    """What is on the branch, the newest first."""
    return git(hub.at(SHOP), "log", "--format=%s", row.branch).splitlines()


def test_a_branch_is_rebased_and_later_work_only_added(
    opened: PullRequest, hub: GitHub, clone: Path, sandbox: Sandbox, member: User, work: Work,
    theirs: Callable[..., None],
):  # fmt: skip
    git(clone, "commit", "-q", "--amend", "--author", "Bea <bea@example.com>", "--date", "2020-02-02T02:02:02Z",
        "-m", "Change a.txt\n\nWith a body.")  # fmt: skip
    row = Checkpoint.objects.create(sandbox=sandbox, cause="turn", status=Checkpoint.Status.TAKING)
    row.move(Checkpoint.Status.STORED, commit=keep(Store.of(sandbox.project), clone, ref_of(sandbox.pk, row.pk)))
    work()
    theirs(c__txt="three\n")
    updated(opened, member, work)
    assert (opened.status, shown(hub, opened, "a.txt"), shown(hub, opened, "c.txt")) == ("draft", "ONE", "three")
    assert log(hub, opened) == ["Change a.txt", "Theirs", "First"]
    kept = git(hub.at(SHOP), "log", "-1", "--format=%an %ae %aI %cn %b", opened.branch)
    assert kept == "Bea bea@example.com 2020-02-02T02:02:02+00:00 Ann With a body."
    first = hub.head(SHOP, opened.branch)
    saved(sandbox, clone, b__txt="TWO\n")
    work()
    opened.refresh_from_db()
    assert (shown(hub, opened, "b.txt"), shown(hub, opened, "c.txt")) == ("TWO", "three")
    assert log(hub, opened) == ["Change b__txt", "Change a.txt", "Theirs", "First"]
    git(hub.at(SHOP), "merge-base", "--is-ancestor", first, opened.branch)  # nothing was forced over it
    theirs(d__txt="four\n")
    updated(opened, member, work)
    assert log(hub, opened) == ["Change b__txt", "Change a.txt", "Theirs", "Theirs", "First"]
    assert git(hub.at(SHOP), "fsck", "--strict", "--no-dangling") == ""


def test_a_project_may_have_its_branches_merged(
    opened: PullRequest, hub: GitHub, clone: Path, sandbox: Sandbox, member: User, work: Work,
    theirs: Callable[..., None],
):  # fmt: skip
    PublishingSettings.objects.create(project=sandbox.project, updates="merge")
    theirs(c__txt="three\n")
    first = hub.head(SHOP, opened.branch)
    updated(opened, member, work)
    saved(sandbox, clone, b__txt="TWO\n")
    work()
    assert [shown(hub, opened, name) for name in ("a.txt", "b.txt", "c.txt")] == ["ONE", "TWO", "three"]
    git(hub.at(SHOP), "merge-base", "--is-ancestor", first, opened.branch)
    assert git(hub.at(SHOP), "rev-list", "--merges", "--count", opened.branch) != "0"


def test_work_with_a_merge_in_it_is_merged_and_stays_so(
    opened: PullRequest, hub: GitHub, clone: Path, sandbox: Sandbox, member: User, work: Work,
    theirs: Callable[..., None],
):  # fmt: skip
    git(clone, "checkout", "-q", "-b", "side", "main")
    write(clone, s__txt="side\n")
    commit(clone, "Side")
    git(clone, "checkout", "-q", sandbox.work_branch)
    git(clone, "merge", "-q", "--no-edit", "side")
    saved(sandbox, clone, b__txt="TWO\n")
    work()
    theirs(c__txt="three\n")
    first = updated(opened, member, work).target
    saved(sandbox, clone, b__txt="TWO!\n")
    work()
    theirs(d__txt="four\n")
    updated(opened, member, work)
    names = ["a.txt", "b.txt", "c.txt", "d.txt", "s.txt"]
    assert [shown(hub, opened, name) for name in names] == ["ONE", "TWO!", "three", "four", "side"]
    git(hub.at(SHOP), "merge-base", "--is-ancestor", first, opened.branch)


def test_what_conflicts_only_commit_by_commit_is_merged(
    opened: PullRequest, hub: GitHub, clone: Path, sandbox: Sandbox, member: User, work: Work,
    theirs: Callable[..., None],
):  # fmt: skip
    saved(sandbox, clone, b__txt="for a while\n")
    saved(sandbox, clone, b__txt="two\n")  # as it was
    work()
    theirs(b__txt="theirs\n")
    updated(opened, member, work)
    assert (opened.warnings, opened.conflict) == ([], "")
    assert [shown(hub, opened, name) for name in ("a.txt", "b.txt")] == ["ONE", "theirs"]


def test_a_conflict_is_told_and_the_work_goes_on(
    opened: PullRequest, hub: GitHub, sandbox: Sandbox, member: User, work: Work, theirs: Callable[..., None]
):
    theirs(a__txt="uno\n")
    updated(opened, member, work)
    assert opened.status == "draft"
    assert "Both sides changed the same lines of a.txt" in opened.warnings[0]
    assert hub.head(SHOP, sandbox.work_branch) == opened.wanted_commit


class Killed(BaseException):
    """The process is gone."""


STEPS = ["heads", "settle", "findings", "push", "github.open_pull_request", "github.read"]


@pytest.fixture
def killer(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, bool], None]:
    """Has the process die before or after a step, once."""

    def kill(name: str, after: bool) -> None:
        place: Any = pulls
        *way, last = name.split(".")
        for step in way:
            place = getattr(place, step)
        real, left = getattr(place, last), [1]

        def dies(*words: Any, **more: Any) -> Any:
            mortal = left.pop() if left else 0
            if mortal and not after:
                raise Killed
            found = real(*words, **more)
            if mortal:
                raise Killed
            return found

        monkeypatch.setattr(place, last, dies)

    return kill


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_killed_anywhere_it_ends_with_one_branch_and_one_request(
    sandbox: Sandbox,
    clone: Path,
    hub: GitHub,
    member: User,
    killer: Callable[[str, bool], None],
    step: str,
    after: bool,
):
    saved(sandbox, clone, a__txt="ONE\n")
    row = pulls.publish(sandbox, member, request=True)
    killer(step, after)
    with pytest.raises(Killed):
        look(row)
    row = look(row)
    assert (row.status, row.number, len(hub.pulls)) == ("draft", 1, 1)
    assert hub.head(SHOP, sandbox.work_branch) == git(clone, "rev-parse", "HEAD")
    assert hub.count("POST", "/pulls$") == 1


def test_killed_after_a_push_more_work_is_still_its_own(
    sandbox: Sandbox, clone: Path, hub: GitHub, member: User, killer: Callable[[str, bool], None]
):
    saved(sandbox, clone, a__txt="ONE\n")
    row = pulls.publish(sandbox, member, request=True)
    killer("push", True)
    with pytest.raises(Killed):
        look(row)
    pulls.follow(saved(sandbox, clone, b__txt="TWO\n"))
    assert look(row).status == "draft"
    assert shown(hub, row, "b.txt") == "TWO"


def test_the_key_is_in_no_row_and_no_text(opened: PullRequest, hub: GitHub):
    assert TOKEN not in str(PullRequest.objects.values())
    assert TOKEN not in hub.pulls[0].body
