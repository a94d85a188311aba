"""What a machine commits and bundles, by running the program that is handed to it, on real repositories."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sandboxes import courier
from tests.sandboxes.repositories import commit, git, make, write

BRANCH = "codecourier/standalone-1-x"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = make(tmp_path / "project", a__txt="one\n", __gitignore="*.log\n")
    git(folder, "checkout", "-q", "-b", BRANCH)
    return folder


def snapshot(tree: Path, number: int = 1, have: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    """What the program answers."""
    script = tree.parent / "snapshot.py"
    script.write_bytes(courier.SNAPSHOT)
    order = {
        "project": str(tree), "id": number, "branch": BRANCH, "message": "Work\n", "name": "Bot",
        "email": "bot@example.com", "have": list(have), "bundle": str(tree.parent / "out/bundle"),
        "largest": 1000, **more,
    }  # fmt: skip
    env = {"PATH": os.environ["PATH"], "HOME": str(tree.parent)}
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(script), json.dumps(order)],
        capture_output=True,
        text=True,
        env=env,
        check=True,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def files(tree: Path, of: str) -> list[str]:
    return git(tree, "ls-tree", "-r", "--name-only", of).split()


def test_everything_that_is_not_ignored_is_committed_on_the_branch(tree: Path):
    start = git(tree, "rev-parse", "HEAD")
    write(tree, a__txt="two\n", b__txt="new\n", noise__log="no\n")
    said = snapshot(tree, have=(start,))
    assert said["commit"] == git(tree, "rev-parse", BRANCH) == git(tree, "rev-parse", "HEAD")
    assert files(tree, "HEAD") == [".gitignore", "a.txt", "b.txt"]
    assert git(tree, "log", "-1", "--format=%an %ae %cn %s %P") == f"Bot bot@example.com Bot Work {start}"
    assert git(tree, "status", "--porcelain") == ""
    assert (said["left_out"], said["shallow"], said["bytes"] > 0) == ([], [], True)
    git(tree, "bundle", "verify", str(tree.parent / "out/bundle"))


def test_the_agents_own_commits_are_kept_and_nothing_is_added_to_them(tree: Path):
    start = git(tree, "rev-parse", "HEAD")
    write(tree, b__txt="mine\n")
    commit(tree, "Mine")
    said = snapshot(tree, have=(start,))
    assert said["commit"] == git(tree, "rev-parse", "HEAD")
    assert git(tree, "log", "--format=%s", f"{start}..") == "Mine"
    assert said["bytes"] > 0


def test_a_change_of_the_same_size_in_the_same_second_is_seen(tree: Path):
    now = 1_700_000_000
    git(tree, "update-index", "--refresh")
    os.utime(tree / "a.txt", (now, now))
    git(tree, "update-index", "--refresh")
    os.utime(tree / ".git/index", (now, now))
    write(tree, a__txt="two\n")
    os.utime(tree / "a.txt", (now, now))
    assert git(tree, "show", f"{snapshot(tree)['commit']}:a.txt") == "two"


def test_without_a_change_nothing_is_handed_over(tree: Path):
    start = git(tree, "rev-parse", "HEAD")
    assert snapshot(tree, have=(start,)) == {"commit": start, "bytes": 0, "left_out": [], "shallow": []}


def test_asked_again_it_is_the_same_commit(tree: Path):
    write(tree, b__txt="new\n")
    first = snapshot(tree, 7)
    write(tree, c__txt="later\n")
    assert snapshot(tree, 7)["commit"] == first["commit"]
    assert snapshot(tree, 8)["commit"] != first["commit"]
    assert git(tree, "for-each-ref", "--format=%(refname)", "refs/courier") == "refs/courier/8"


def test_a_crash_between_branch_and_index_is_made_good(tree: Path):
    write(tree, b__txt="new\n")
    before = (tree / ".git/index").read_bytes()
    said = snapshot(tree, 7)
    (tree / ".git/courier-index").write_bytes((tree / ".git/index").read_bytes())
    (tree / ".git/index").write_bytes(before)
    assert git(tree, "status", "--porcelain") != ""
    assert snapshot(tree, 7)["commit"] == said["commit"]
    assert git(tree, "status", "--porcelain") == ""


@pytest.mark.parametrize("state", ["detached", "other branch", "merge", "rebase", "locked"])
def test_what_somebody_is_in_the_middle_of_is_left_alone(tree: Path, state: str):
    start = git(tree, "rev-parse", "HEAD")
    write(tree, a__txt="mine\n")
    commit(tree, "Mine")
    git(tree, "checkout", "-q", "-b", "other", start)
    write(tree, a__txt="theirs\n")
    commit(tree, "Theirs")
    if state == "detached":
        git(tree, "checkout", "-q", "--detach")
    elif state in {"merge", "rebase"}:
        git(tree, "checkout", "-q", BRANCH)
        with pytest.raises(subprocess.CalledProcessError):
            git(tree, state, "other")
    elif state == "locked":
        git(tree, "checkout", "-q", BRANCH)
        (tree / ".git/index.lock").touch()
    write(tree, b__txt="new\n")
    before = [git(tree, "rev-parse", "HEAD"), git(tree, "rev-parse", BRANCH), (tree / ".git/index").read_bytes()]
    said = snapshot(tree)
    after = [git(tree, "rev-parse", "HEAD"), git(tree, "rev-parse", BRANCH), (tree / ".git/index").read_bytes()]
    assert before == after
    assert "b.txt" in files(tree, said["commit"])
    if state == "merge":
        assert "<<<<<<<" in git(tree, "show", f"{said['commit']}:a.txt")


def test_hooks_are_not_run(tree: Path):
    for hook in ("pre-commit", "commit-msg", "post-commit", "reference-transaction"):
        (tree / ".git/hooks").mkdir(exist_ok=True)
        path = tree / ".git/hooks" / hook
        path.write_text(f"#!/bin/sh\ntouch {tree}/ran\nexit 1\n")
        path.chmod(0o755)
    write(tree, b__txt="new\n")
    assert snapshot(tree)["commit"]
    assert not (tree / "ran").exists()


def test_what_no_remote_would_take_is_left_out_and_said(tree: Path):
    (tree / "big.bin").write_bytes(b"x" * 1001)
    make(tree / "inner")
    write(tree, b__txt="new\n")
    said = snapshot(tree)
    assert said["left_out"] == [["big.bin", "larger than 0 MB"], ["inner/", "a git repository of its own"]]
    assert files(tree, said["commit"]) == [".gitignore", "a.txt", "b.txt"]


def test_a_submodule_keeps_its_commit_and_its_own_changes_are_said(tree: Path, tmp_path: Path):
    make(tmp_path / "library")
    git(tree, "-c", "protocol.file.allow=always", "submodule", "-q", "add", str(tmp_path / "library"), "lib")
    commit(tree, "With a library")
    write(tree / "lib", a__txt="changed\n")
    write(tree, b__txt="new\n")
    said = snapshot(tree)
    assert said["left_out"] == [["lib", "a submodule with changes that are not committed in it"]]
    assert git(tree, "ls-tree", said["commit"], "lib").startswith("160000 commit")


def test_odd_names_and_files_that_go_are_saved(tree: Path):
    names = ["-dash", "with space", 'quo"te', "tab\tname", "ünï", ":(glob)*", "new\nline"]
    for name in names:
        (tree / name).write_text("x")
    (tree / "link").symlink_to("/etc/passwd")
    (tree / "a.txt").unlink()
    said = snapshot(tree)
    listed = git(tree, "ls-tree", "-r", "-z", "--name-only", said["commit"]).split("\0")
    assert set(names) | {"link"} <= set(listed)
    assert "a.txt" not in listed
    assert git(tree, "cat-file", "-p", f"{said['commit']}:link") == "/etc/passwd"


def test_a_folder_that_never_had_a_commit(tmp_path: Path):
    tree = tmp_path / "project"
    tree.mkdir()
    git(tree, "init", "-q", "-b", "main")
    git(tree, "checkout", "-q", "-b", BRANCH)
    assert snapshot(tree)["commit"] == ""
    write(tree, a__txt="one\n")
    said = snapshot(tree)
    assert git(tree, "rev-list", said["commit"]) == said["commit"]
    assert git(tree, "status", "--porcelain", "-b") == f"## {BRANCH}"


def test_a_shallow_clone_says_where_it_ends(tree: Path, tmp_path: Path):
    write(tree, a__txt="two\n")
    commit(tree, "Second")
    copy = tmp_path / "copy"
    subprocess.run(["git", "clone", "-q", "--depth", "1", f"file://{tree}", str(copy)], check=True)
    write(copy, b__txt="new\n")
    said = snapshot(copy)
    assert said["shallow"] == [git(tree, "rev-parse", "HEAD")]


@pytest.mark.parametrize(
    ("command", "sentence"),
    [("rm -rf .git", "not a git repository any more"), ("rm -rf ../project", "not there any more"),
     ("chmod 000 .git/objects; chmod -R a-w .git; rm .git/HEAD", "not a git repository any more")],
)  # fmt: skip
def test_a_folder_that_can_not_be_saved_is_told(tree: Path, command: str, sentence: str):
    subprocess.run(command, shell=True, cwd=tree, check=True)
    assert sentence in snapshot(tree)["error"]


def pointer(tree: Path, path: str, oid: str, *, here: bool) -> None:
    """As git LFS leaves it in a commit, with the content beside the repository or only at the remote."""
    (tree / path).write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 12345\n")
    if here:
        place = tree / ".git" / "lfs" / "objects" / oid[:2] / oid[2:4] / oid
        place.parent.mkdir(parents=True)
        place.write_bytes(b"x")


def test_what_git_lfs_keeps_beside_the_repository_is_said_to_be_missing(tree: Path):
    pointer(tree, "old.bin", "a" * 64, here=True)
    start = git(commit(tree, "Old"), "rev-parse", "HEAD")
    pointer(tree, "new one.bin", "b" * 64, here=True)
    pointer(tree, "elsewhere.bin", "c" * 64, here=False)
    (tree / "looks.txt").write_text("version https://git-lfs, said somebody\n")
    said = snapshot(tree, have=(start,), start=start)
    assert said["left_out"] == [["new one.bin", "kept by git LFS: only its pointer is saved"]]
    assert "new one.bin" in git(tree, "ls-tree", "-r", "--name-only", said["commit"])
    assert snapshot(tree, 2, start="d" * 40)["commit"] == said["commit"]
