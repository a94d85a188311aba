"""What leaves the portal: scanned first, to one branch, over nobody else's work."""

from pathlib import Path
from typing import Any

import pytest

from codecourier.models import Project
from sandboxes.checkpoints.store import Store
from sandboxes.publishing.push import PushError, heads, push
from sandboxes.publishing.scan import Finding, findings
from tests.sandboxes.repositories import commit, git, keep, make, write

AWS = "AKIA" + "ABCDEFGHIJKLMNOP"
BRANCH = "codecourier/standalone-1-x"


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    """A bare repository, as a team has one."""
    seed = make(tmp_path / "seed", a__txt="one\n")
    git(tmp_path, "clone", "-q", "--bare", str(seed), "remote.git")
    return tmp_path / "remote.git"


@pytest.fixture
def work(tmp_path: Path, remote: Path) -> Path:
    """A clone in which somebody works."""
    git(tmp_path, "clone", "-q", str(remote), "work")
    git(tmp_path / "work", "checkout", "-q", "-b", BRANCH)
    return tmp_path / "work"


@pytest.fixture
def store(project: Project, settings: Any, tmp_path: Path) -> Store:
    settings.STATE = tmp_path / "state"
    return Store.of(project)


def kept(store: Store, work: Path, number: int = 1) -> str:
    """All commits of the work, in the portal's repository; the last one."""
    return keep(store, work, f"refs/checkpoints/1/{number}")


def scanned(store: Store, work: Path, secrets: dict[str, str] | None = None) -> list[Finding]:
    start = git(work, "rev-parse", "origin/main")
    return findings(store, kept(store, work), [start], secrets or {})


def test_a_branch_is_pushed_once_and_moved_on(project: Project, store: Store, work: Path, remote: Path):
    first = kept(store, commit(work, "Mine"))
    there = heads(project, str(remote))
    assert there == {"HEAD": "main", "main": git(remote, "rev-parse", "main")}
    push(project, str(remote), BRANCH, first, there, [])
    assert git(remote, "rev-parse", BRANCH) == first
    push(project, str(remote), BRANCH, first, heads(project, str(remote)), [first])
    second = kept(store, commit(work, "More"), 2)
    push(project, str(remote), BRANCH, second, heads(project, str(remote)), [first])
    assert git(remote, "rev-parse", BRANCH) == second


def test_its_own_rewritten_work_replaces_what_it_pushed(project: Project, store: Store, work: Path, remote: Path):
    first = kept(store, commit(work, "Mine"))
    push(project, str(remote), BRANCH, first, heads(project, str(remote)), [])
    git(work, "commit", "-q", "--amend", "--allow-empty", "-m", "Mine, better")
    second = kept(store, work, 2)
    push(project, str(remote), BRANCH, second, heads(project, str(remote)), [first])
    assert git(remote, "log", "--format=%s", BRANCH).splitlines() == ["Mine, better", "First"]


def test_nobody_elses_work_is_overwritten(project: Project, store: Store, work: Path, remote: Path, tmp_path: Path):
    first = kept(store, commit(work, "Mine"))
    other = tmp_path / "other"
    git(tmp_path, "clone", "-q", str(remote), "other")
    git(other, "checkout", "-q", "-b", BRANCH)
    git(commit(other, "Theirs"), "push", "-q", "origin", BRANCH)
    theirs = git(remote, "rev-parse", BRANCH)
    with pytest.raises(PushError, match="already, with other work"):
        push(project, str(remote), BRANCH, first, heads(project, str(remote)), [])
    with pytest.raises(PushError, match="x: Somebody else has pushed"):
        push(project, str(remote), BRANCH, first, heads(project, str(remote)), [first])
    # Pushed by somebody between our look and our push: git's lease says no.
    with pytest.raises(PushError, match="Somebody else has pushed"):
        push(project, str(remote), BRANCH, first, {"main": first}, [])
    assert git(remote, "rev-parse", BRANCH) == theirs


def test_a_remote_that_refuses_is_told(project: Project, store: Store, work: Path, remote: Path):
    head = kept(store, commit(work, "Mine"))
    hook = remote / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho 'GH006: Protected branch update failed' >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(PushError, match="protected there") as refused:
        push(project, str(remote), BRANCH, head, heads(project, str(remote)), [])
    assert not refused.value.passing


def test_a_remote_that_is_away_is_tried_again(project: Project):
    with pytest.raises(PushError) as away:
        heads(project, "http://127.0.0.1:9/shop.git")
    assert away.value.passing
    with pytest.raises(PushError, match="no repository at that address") as missing:
        heads(project, "/nowhere/at/all")
    assert not missing.value.passing


def test_a_secret_is_found_with_its_place_also_when_it_was_taken_out_again(store: Store, work: Path):
    write(work, config__py=f"# one\nKEY = '{AWS}'\n")
    first = git(commit(work, "Leak"), "rev-parse", "HEAD")
    write(work, config__py="# one\nKEY = os.environ['KEY']\n")
    commit(work, "Take it out")
    (found,) = scanned(store, work)
    assert (found.commit, found.path, found.line, found.kind) == (first, "config.py", 2, "AWS access key")
    assert AWS not in str(found.to_json())


def test_the_projects_own_values_are_found_in_any_usual_encoding(store: Store, work: Path):
    write(work, a__txt="one\n" + "db: hunter2-very-secret\n", b__sh="echo aHVudGVyMi12ZXJ5LXNlY3JldA==\n")
    commit(work, "Leak")
    found = scanned(store, work, {"DB_PASSWORD": "hunter2-very-secret"})
    assert [(one.path, one.line, one.kind) for one in found] == [
        ("a.txt", 2, "value of DB_PASSWORD"), ("b.sh", 1, "value of DB_PASSWORD"),
    ]  # fmt: skip


def test_what_the_remote_has_already_is_not_looked_at(store: Store, work: Path, remote: Path):
    write(work, old__txt=f"{AWS}\n")
    git(commit(work, "Old"), "push", "-q", "origin", "HEAD:main")
    git(work, "fetch", "-q")
    write(work, new__txt="nothing\n")
    commit(work, "New")
    assert scanned(store, work) == []


def test_work_without_secrets_passes(store: Store, work: Path):
    lookalikes = [
        "sk-short",
        "AKIAlowercase",
        "ghp_short",
        "+++ b/x",
        "commit 123",
        "diff --git a/x b/x",
        "@@ -1 +1 @@",
    ]
    write(work, a__txt="\n".join([*lookalikes, "", "+more", "x" * 50_000]))
    (work / "binary").write_bytes(bytes(range(256)) * 100)
    commit(work, "Work")
    assert scanned(store, work) == []


def test_a_secret_behind_what_looks_like_the_end_of_a_patch_is_found(store: Store, work: Path):
    write(work, a__txt=f"one\n\ncommit 0\n\n+++ b/other\n@@ -1 +9 @@\n{AWS}\n")
    commit(work, "Hide")
    (found,) = scanned(store, work)
    assert (found.path, found.line) == ("a.txt", 7)


def test_a_merge_brings_in_only_what_was_done_in_it(store: Store, work: Path):
    git(work, "checkout", "-q", "-b", "side", "origin/main")
    write(work, s__txt="side\n")
    commit(work, "Side")
    git(work, "checkout", "-q", BRANCH)
    write(work, m__txt="mine\n")
    commit(work, "Mine")
    git(work, "merge", "-q", "--no-commit", "side")
    write(work, evil__txt=f"{AWS}\n")
    commit(work, "Merge with more")
    (found,) = scanned(store, work)
    assert found.path == "evil.txt"
