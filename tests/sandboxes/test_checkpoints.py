"""Work leaves a real machine and stays, whatever becomes of the machine."""

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.test import Client
from django.utils import timezone

from codecourier import git as portal_git
from codecourier.models import Membership, Project, User
from sandboxes import courier, e2b, fleet, jobs, turns
from sandboxes.checkpoints import store as stores
from sandboxes.checkpoints import taking
from sandboxes.checkpoints.store import Store
from sandboxes.mirrors.mirror import Mirror
from sandboxes.models import Checkpoint, Job, Sandbox, Template, Turn
from sandboxes.repository import SHIPPED, hand_over
from tests.faults import Faults
from tests.sandboxes.repositories import commit, git, make, write
from tests.stack import wait_for

Launch = Callable[..., Sandbox]
Look = Callable[[], None]


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    return make(tmp_path / "origin", a__txt="one\n")


@pytest.fixture
def running(provider: Faults, launch: Launch, look: Look, origin: Path) -> Sandbox:
    """A sandbox that runs, on a clone."""
    sandbox = launch(repository_url=str(origin))
    fleet.retitle(sandbox, "Fix the shop")
    return run(sandbox, look)


def run(sandbox: Sandbox, look: Look) -> Sandbox:
    """The same, running."""

    def there() -> bool:
        look()
        sandbox.refresh_from_db()
        clone = sandbox.jobs.filter(kind=Job.Kind.CLONE, status="running").first()
        if clone and "exit" in shell(sandbox, f"tail -1 {jobs.folder(clone)}/spool || true"):
            clone.move("exited", exit_code=0, ended_at=timezone.now())  # there is no relay here
        return sandbox.status == "running"

    wait_for(there, "the sandbox to run")
    return sandbox


def shell(sandbox: Sandbox, command: str) -> str:
    return e2b.machine_of(sandbox).run(f"cd {jobs.PROJECT} 2>/dev/null; {command}", "play the agent")


def save(sandbox: Sandbox, cause: str = "person") -> Checkpoint:
    row = taking.plan(sandbox, cause)
    taking.advance(sandbox)
    row.refresh_from_db()
    return row


def text(project: Project, row: Checkpoint, path: str) -> str:
    return Store.of(project).git("show", f"{row.commit}:{path}").decode()


def test_the_work_is_on_a_branch_of_its_own_and_its_start_is_known(running: Sandbox, origin: Path):
    assert running.work_branch == f"codecourier/standalone-{running.pk}-fix-the-shop"
    assert running.start_commit == git(origin, "rev-parse", "HEAD")
    assert shell(running, "git symbolic-ref --short HEAD").strip() == running.work_branch


def test_what_changed_is_kept_and_only_that_is_moved(running: Sandbox, project: Project):
    shell(running, "head -c 3000000 /dev/urandom > big.bin; echo two > a.txt")
    first = save(running)
    assert (first.status, first.files, first.additions, first.deletions) == ("stored", 2, 1, 1)
    assert first.bytes > 3_000_000
    shell(running, "echo three > a.txt")
    second = save(running)
    assert (second.status, second.files, text(project, second, "a.txt")) == ("stored", 2, "three\n")
    assert second.bytes < 2000
    who = Store.of(project).git("log", "-1", "--format=%an <%ae> %s", second.commit).decode().strip()
    assert who == f"{project.git_name} <{project.git_email}> Fix the shop"


def test_the_history_is_moved_into_machines_and_never_out_of_one(
    provider: Faults, origin: Path, launch: Launch, look: Look, project: Project
):
    write(origin, big__bin="".join(f"{number * 7919 % 100_003}\n" for number in range(100_000)))
    git(commit(origin, "Big"), "tag", "v1")
    git(origin, "branch", "side", "HEAD~")
    sandbox = run(launch(repository_url=str(origin)), look)
    said = shell(sandbox, "git for-each-ref --format='%(refname)'; git config remote.origin.url").split()
    refs = {"heads/main", "remotes/origin/HEAD", "remotes/origin/main", "remotes/origin/side", "tags/v1"}
    assert set(said) == {f"refs/{name}" for name in refs | {f"heads/{sandbox.work_branch}"}} | {str(origin)}
    assert "repository.git" not in shell(sandbox, "ls -a ~/.courier; cat .git/config")
    shell(sandbox, "echo two > a.txt")
    saved = save(sandbox)
    assert (saved.status, saved.files, saved.bytes < 2000) == ("stored", 1, True)
    other = run(launch(continues=saved, repository_url=str(origin)), look)
    assert shell(other, "cat a.txt; git log --format=%s; git config remote.origin.url; git status --short").split() == [
        "two", "Work", "in", "progress", "Big", "First", str(origin),
    ]  # fmt: skip
    assert git(origin, "rev-parse", "side") == shell(other, "git rev-parse origin/side; git fsck").strip()
    shell(other, "echo three > a.txt")
    assert save(other).bytes < 2000


def test_another_sandbox_of_the_project_moves_no_history_again(
    running: Sandbox, project: Project, launch: Launch, provider: Faults
):
    shell(running, "head -c 3000000 /dev/urandom > big.bin && git add . && git commit -qm Big")
    known = save(running).commit
    running.checkpoints.all().delete()
    Sandbox.objects.filter(pk=running.pk).update(start_commit=known)
    running.refresh_from_db()
    shell(running, "echo two > a.txt")
    assert save(running).bytes < 2000


def test_nothing_new_is_said_and_nothing_moved(running: Sandbox):
    assert save(running).status == "same"
    shell(running, "echo two > a.txt")
    assert [save(running).status, save(running).status] == ["stored", "same"]


def test_before_a_pause_and_before_the_end_it_is_saved(running: Sandbox, look: Look, project: Project):
    shell(running, "echo paused > a.txt")
    fleet.pause(running, None)
    look()
    running.refresh_from_db()
    assert (running.status, running.checkpoints.stored().get().cause) == ("paused", "pause")
    fleet.wake(running, None)
    look()
    running.refresh_from_db()
    shell(running, "echo stopped > a.txt")
    fleet.stop(running, None)
    look()
    running.refresh_from_db()
    last = running.checkpoints.stored().last()
    assert last
    assert (running.status, last.cause, text(project, last, "a.txt")) == ("killed", "end", "stopped\n")


def test_after_a_turn_it_is_saved_before_the_next_one_starts(running: Sandbox, look: Look, project: Project):
    job = Job.objects.create(sandbox=running, kind=Job.Kind.TURN, status="exited", exit_code=0)
    turn = Turn.objects.create(sandbox=running, prompt="Say\n two", status="running", job=job, position=1)
    Turn.objects.create(sandbox=running, prompt="true", status="queued", position=2)
    shell(running, "echo two > a.txt")
    look()
    row = running.checkpoints.get()
    assert (row.turn, row.cause, row.status) == (turn, "turn", "stored")
    following = running.turns.get(prompt="true")
    assert following.started_at
    assert row.ended_at
    assert row.ended_at <= following.started_at
    assert Store.of(project).git("log", "-1", "--format=%s", row.commit) == b"Say two\n"


def test_a_folder_without_a_repository_gets_one(provider: Faults, launch: Launch, look: Look, project: Project):
    sandbox = run(launch(), look)
    assert sandbox.start_commit == ""
    assert save(sandbox).status == "same"
    shell(sandbox, "echo one > a.txt")
    row = save(sandbox)
    assert (row.status, row.files, row.additions, text(project, row, "a.txt")) == ("stored", 1, 1, "one\n")


def test_another_sandbox_goes_on_from_it(running: Sandbox, launch: Launch, look: Look):
    shell(running, "git rm -q a.txt; echo mine > b.txt; git add .; git commit -qm Mine; echo two > c.txt")
    saved = save(running)
    other = run(launch(continues=saved), look)
    assert other.start_commit == saved.commit
    assert shell(other, "git log --format=%s; ls; git status --short").split() == [
        "Fix", "the", "shop", "Mine", "First", "b.txt", "c.txt",
    ]  # fmt: skip
    shell(other, "echo three > c.txt")
    assert (save(other).files, save(other).status) == (1, "same")


def test_a_page_offers_what_another_sandbox_goes_on_from(
    running: Sandbox, member: User, member_client: Client, stranger_client: Client, project: Project
):
    shell(running, "echo two > a.txt")
    saved = save(running)
    url = f"/p/{project.slug}/sandboxes/new/?continue={saved.pk}"
    page = member_client.get(url)
    assert page.context["form"].initial["continues"] == saved.pk
    assert b"Goes on from the work of" in page.content
    assert stranger_client.get(url).status_code == 404
    other = Project.objects.create(name="Other", slug="other")
    Membership.objects.create(project=other, user=member, role="member")
    elsewhere = member_client.get(f"/p/other/sandboxes/new/?continue={saved.pk}")
    assert "continues" not in elsewhere.context["form"].initial


def test_a_machine_that_dies_leaves_its_last_checkpoint_and_that_is_said(
    running: Sandbox, look: Look, project: Project
):
    shell(running, "echo two > a.txt")
    stored = save(running)
    shell(running, "echo lost > a.txt")
    e2b.kill(e2b.provider_of(running.project), running.provider_id)
    lost = taking.plan(running, "person")
    look()
    running.refresh_from_db()
    lost.refresh_from_db()
    assert (running.status, lost.status) == ("error", "failed")
    assert f"saved at {stored.ended_at:%H:%M} UTC stands" in lost.detail
    assert text(project, stored, "a.txt") == "two\n"


STEPS = [(e2b.Machine, "write"), (e2b.Machine, "run"), (e2b.Machine, "fetch"), (Store, "take"), (Store, "_unpack"),
         (Store, "size"), (Checkpoint, "move")]  # fmt: skip


def test_killed_at_any_step_it_is_taken_once(running: Sandbox, project: Project, monkeypatch: pytest.MonkeyPatch):
    """The exception stands for a worker that is killed there: nothing after it happens."""
    taken: list[str] = []
    for owner, name in STEPS:
        for when in ("before", "after"):
            content = f"{name} {when}"
            shell(running, f"echo {content} > a.txt")
            row = taking.plan(running, "person")
            with monkeypatch.context() as patch:
                patch.setattr(owner, name, dying(getattr(owner, name), when))
                with pytest.raises(Killed):
                    taking.advance(running)
            running = Sandbox.objects.get(pk=running.pk)
            taking.advance(running)
            row.refresh_from_db()
            assert (row.status, text(project, row, "a.txt")) == ("stored", f"{content}\n")
            taken.append(f"refs/checkpoints/{running.pk}/{row.pk}")
            assert shell(running, "git log --format=%s").splitlines() == [*["Fix the shop"] * len(taken), "First"]
    assert set(Store.of(project).git("for-each-ref", "--format=%(refname)").decode().split()) == set(taken)


def test_killed_around_its_planning_a_turns_work_is_saved_once(
    running: Sandbox, project: Project, monkeypatch: pytest.MonkeyPatch
):
    for position, (owner, name) in enumerate([(taking, "plan"), (turns, "conclude"), (taking, "advance")]):
        for when in ("before", "after"):
            job = Job.objects.create(sandbox=running, kind=Job.Kind.TURN, status="exited", exit_code=0)
            turn = Turn.objects.create(
                sandbox=running, prompt="Go", status="running", job=job, position=position, started_at=timezone.now()
            )
            shell(running, f"echo {name} {when} > a.txt")
            with monkeypatch.context() as patch:
                patch.setattr(owner, name, dying(getattr(owner, name), when))
                with pytest.raises(Killed):
                    turns.advance(running)
            running = Sandbox.objects.get(pk=running.pk)
            turns.advance(running)
            row = turn.checkpoints.get()
            assert (row.status, text(project, row, "a.txt")) == ("stored", f"{name} {when}\n")


HANDING_OVER = [(Mirror, "bring"), (Store, "borrow"), (Mirror, "packs"), (e2b.Machine, "run"), (e2b.Machine, "send"),
                (e2b.Machine, "write")]  # fmt: skip


def test_killed_at_any_step_a_repository_is_handed_over_whole(
    running: Sandbox, origin: Path, project: Project, monkeypatch: pytest.MonkeyPatch
):
    for owner, name in HANDING_OVER:
        for when in ("before", "after"):
            head = git(commit(origin, f"{name} {when}"), "rev-parse", "HEAD")
            since = timezone.now()
            with monkeypatch.context() as patch:
                patch.setattr(owner, name, dying(getattr(owner, name), when))
                with pytest.raises(Killed):
                    handed_over(running, since)
            running = Sandbox.objects.get(pk=running.pk)
            handed_over(running, since)
            assert head in shell(running, f"git -C {SHIPPED} rev-parse HEAD && git -C {SHIPPED} fsck --no-progress")
            shell(running, f"rm -rf {SHIPPED}")


def handed_over(sandbox: Sandbox, since: datetime) -> None:
    """As the boot does it: looked at until it is done."""

    def over() -> bool:
        stand = hand_over(sandbox, since)
        return stand.done and stand.shipped

    wait_for(over, "the repository")


class Killed(BaseException):
    """A worker's end."""


def dying(real: Callable[..., object], when: str) -> Callable[..., object]:
    """The same, and the worker dies before or after it."""

    def call(*args: object, **more: object) -> object:
        if when == "after":
            real(*args, **more)
        raise Killed

    return call


LIES: list[tuple[object, str]] = [
    ("nonsense", "did not say what it saved"),
    ({"commit": "--upload-pack=x", "bytes": 0}, "no commit that"),
    ({"commit": "a" * 40, "bytes": 0}, "the portal lacks"),
    ({"commit": "a" * 40, "bytes": 9}, "no repository that can"),
    ({"error": "x" * 9000}, "Nothing of it is saved"),
]


def test_a_machine_that_lies_is_not_believed(running: Sandbox, monkeypatch: pytest.MonkeyPatch):
    shell(running, "mkdir -p ~/.courier; head -c 9 /dev/urandom > ~/.courier/checkpoint.bundle")
    for forged, sentence in LIES:
        answer = json.dumps({"left_out": [], "shallow": []} | forged if isinstance(forged, dict) else forged)
        monkeypatch.setattr(courier, "SNAPSHOT", f"print({answer!r})".encode())
        row = save(running)
        assert (row.status, len(row.detail) < 1001) == ("failed", True)
        assert sentence in row.detail


def test_too_much_is_refused_before_it_is_moved(running: Sandbox, settings: LazySettings):
    settings.CHECKPOINT_BYTES = 1000
    shell(running, "head -c 5000 /dev/urandom > big.bin")
    row = save(running)
    assert (row.status, "larger than may be kept" in row.detail) == ("failed", True)


def test_what_is_deleted_leaves_nothing_in_the_store(
    tmp_path: Path,
    settings: LazySettings,
    project: Project,
    template: Template,
    django_capture_on_commit_callbacks: Any,
):
    settings.STATE = tmp_path / "state"
    first, second = [fleet.launch(project, None, template=template) for _ in range(2)]
    origin = make(tmp_path / "origin")
    git(origin, "bundle", "create", "-q", "../bundle", "main")
    store, kept = Store.of(project), stores.ref_of(second.pk, 1)
    for sandbox in (first, second):
        store.take(tmp_path / "bundle", stores.ref_of(sandbox.pk, 1), git(origin, "rev-parse", "HEAD"))
    with django_capture_on_commit_callbacks(execute=True):
        first.delete()
    assert store.git("for-each-ref", "--format=%(refname)").decode().split() == [kept]
    with django_capture_on_commit_callbacks(execute=True):
        project.delete()
    assert not store.path.exists()


def test_a_store_refuses_objects_that_could_harm_a_reader(tmp_path: Path, settings: LazySettings):
    settings.STATE = tmp_path / "state"
    evil = make(tmp_path / "evil")
    blob = git(evil, "hash-object", "-w", "a.txt")
    tree = make_tree(evil, f"100644 blob {blob}\t.GIT")
    bad = git(evil, "commit-tree", tree, "-m", "Evil")
    git(evil, "update-ref", "refs/courier/1", bad)
    git(evil, "bundle", "create", "-q", "../bundle", "refs/courier/1")
    with pytest.raises(stores.Broken, match="hasDotgit"):
        Store(1).take(tmp_path / "bundle", "refs/checkpoints/1/1", bad)
    assert not Store(1).has(bad)


def make_tree(repository: Path, line: str) -> str:
    done = portal_git.run(["mktree"], at=repository, given=f"{line}\n".encode())
    return done.decode().strip()


def test_a_shallow_clones_work_is_kept_and_can_be_shown(tmp_path: Path, settings: LazySettings):
    settings.STATE = tmp_path / "state"
    origin = commit(make(tmp_path / "origin", a__txt="one\n"), "Second")
    copy = tmp_path / "copy"
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{origin}", str(copy))
    write(copy, a__txt="two\n")
    commit(copy, "Third")
    git(copy, "update-ref", "refs/courier/1", "HEAD")
    git(copy, "bundle", "create", "-q", "../bundle", "refs/courier/1")
    head, base = git(copy, "rev-parse", "HEAD"), git(copy, "rev-parse", "HEAD~")
    store = Store(1)
    store.take(tmp_path / "bundle", "refs/checkpoints/1/1", head, [base])
    assert store.size(base, head) == stores.Size(1, 1, 1)
    assert store.commit_of("refs/checkpoints/1/1") == head
