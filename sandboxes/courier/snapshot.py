"""Saves the work in a machine: one commit of all that isn't ignored, and a bundle of what the portal lacks.

Standard library only, any Python from 3.8, run as `python3 -I -S snapshot.py ORDER` with ORDER in JSON:

    {"project": folder, "id": 7, "branch": "codecourier/...", "message": text, "name": text, "email": text,
     "start": commit that the work began on or "", "have": [commits that the portal has], "bundle": path,
     "largest": bytes of a new file that are too many}

Prints one JSON object: {"commit": hash or "", "bytes": size of the bundle (0: none is needed), "left_out":
[[path, why], ...], "shallow": [commits whose parents were never fetched]} or {"error": sentence}.

The commit is `refs/courier/<id>`: asked again after a crash, the same one is found. The agent's own commits stay what
they are. On the sandbox's branch, with nothing half-way (a merge, a rebase), branch and index go to it as well;
otherwise they are left alone.
"""
# ruff: noqa: PTH103, PTH105, PTH108, PTH110, PTH112, PTH118, PTH120, PTH123, PTH202

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
# Bytes that no pointer of git LFS has, and of how many files that is looked at.
LFS_POINTER, LFS_FILES = 1024, 500
HALF_WAY = ("MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "BISECT_LOG", "rebase-merge", "rebase-apply")
# The project's own hooks and helpers have no part in this, and nothing may wait for a person.
QUIET = (
    "core.hooksPath=/dev/null", "core.fsmonitor=false", "core.quotePath=false", "gc.auto=0",
    "advice.addEmbeddedRepo=false",
)  # fmt: skip


class Refused(Exception):
    """The work can't be saved; the message says why."""


class Worktree:
    """The folder that is saved."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order
        self.folder = order["project"]
        self.env = dict(
            os.environ,
            PATH="/usr/local/bin:/usr/bin:/bin:" + os.environ.get("PATH", ""),
            GIT_AUTHOR_NAME=order["name"], GIT_AUTHOR_EMAIL=order["email"],
            GIT_COMMITTER_NAME=order["name"], GIT_COMMITTER_EMAIL=order["email"],
            GIT_TERMINAL_PROMPT="0", LC_ALL="C.UTF-8",
        )  # fmt: skip
        self.ref = f"refs/courier/{order['id']}"
        self.left_out: list[list[str]] = []
        if not os.path.isdir(self.folder):
            raise Refused("The working folder is not there any more.")
        self.git_folder = os.path.join(self.folder, self.ask("rev-parse", "--git-dir"))
        top = self.ask("rev-parse", "--show-toplevel")
        if not top or os.path.realpath(top) != os.path.realpath(self.folder):
            raise Refused("The working folder is not a git repository any more.")

    def run(
        self, *words: str, env: dict[str, str] | None = None, given: bytes | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """A git command, as a finished process."""
        options = [part for setting in QUIET for part in ("-c", setting)]
        command, own = ["git", *options, *words], dict(self.env, **(env or {}))
        return subprocess.run(command, cwd=self.folder, env=own, input=given, capture_output=True, check=False)

    def do(self, *words: str, env: dict[str, str] | None = None, given: bytes | None = None) -> str:
        """What it prints; Refused when it fails."""
        done = self.run(*words, env=env, given=given)
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no reason"]
            raise Refused(f"git {words[0]} could not be done: {said[-1][:300]}")
        return done.stdout.decode("utf-8", "surrogateescape").strip()

    def ask(self, *words: str) -> str:
        """What it prints, empty when it fails."""
        done = self.run(*words)
        return "" if done.returncode else done.stdout.decode("utf-8", "surrogateescape").strip()

    def inside(self, name: str) -> str:
        """A path in git's own folder."""
        return os.path.join(self.git_folder, name)

    def save(self) -> str:
        """The commit of all there is now, empty for a folder that never had anything."""
        head = self.ask("rev-parse", "-q", "--verify", "HEAD^{commit}")
        known = self.ask("rev-parse", "-q", "--verify", self.ref)
        if known:
            self.follow(known)
            return known
        index = self.inside("courier-index")
        tree = self.stage(index)
        before = self.ask("rev-parse", "-q", "--verify", "HEAD^{tree}") or EMPTY_TREE
        commit = head if tree == before else self.commit(tree, head)
        if not commit:
            return ""
        for old in self.ask("for-each-ref", "--format=%(refname)", "refs/courier").split():
            self.do("update-ref", "-d", old)
        self.do("update-ref", self.ref, commit)
        if commit != head and self.may_follow():
            self.do("update-ref", "-m", "checkpoint", "refs/heads/" + self.order["branch"], commit, head or "0" * 40)
            os.replace(index, self.inside("index"))
        return commit

    def stage(self, index: str) -> str:
        """The tree of the folder as it is, by an index of our own."""
        if os.path.exists(self.inside("index")):
            # With its time: by that git tells which files may have changed in the second in which it was written.
            shutil.copy2(self.inside("index"), index)
        elif os.path.exists(index):
            os.unlink(index)
        own = {"GIT_INDEX_FILE": index}
        paths = b"\0".join([b".", *(b":(exclude,top,literal)" + path for path in self.unwanted())])
        added = self.run(
            "add", "-A", "--ignore-errors", "--pathspec-from-file=-", "--pathspec-file-nul", given=paths, env=own
        )
        if added.returncode:
            said = added.stderr.decode("utf-8", "replace").strip().splitlines()
            self.left_out += [["", line[:300]] for line in said[:20] if line.startswith("error")]
        self.note_submodules()
        tree = self.do("write-tree", env=own)
        self.note_lfs(tree)
        return tree

    def unwanted(self) -> Iterator[bytes]:
        """New files that are too large for any remote, and repositories inside the repository."""
        listed = self.run("ls-files", "--others", "--exclude-standard", "-z").stdout
        for path in filter(None, listed.split(b"\0")):
            name = path.decode("utf-8", "replace")
            if path.endswith(b"/"):
                self.left_out.append([name, "a git repository of its own"])
                yield path.rstrip(b"/")
                continue
            try:
                size = os.lstat(os.path.join(os.fsencode(self.folder), path)).st_size
            except OSError:
                continue
            if size > self.order["largest"]:
                self.left_out.append([name, f"larger than {self.order['largest'] // 2**20} MB"])
                yield path

    def note_submodules(self) -> None:
        """Of a submodule only its commit is saved."""
        if not os.path.exists(os.path.join(self.folder, ".gitmodules")):
            return
        for line in self.ask("status", "--porcelain=2", "--ignore-submodules=none").splitlines():
            words = line.split(" ", 8)
            if len(words) == 9 and words[2].startswith("S") and words[2][2:] != "..":
                self.left_out.append([words[8], "a submodule with changes that are not committed in it"])

    def note_lfs(self, tree: str) -> None:
        """Of what git LFS has beside the repository only the pointer is saved; the remote has that of the start."""
        if not os.path.isdir(self.inside("lfs/objects")):
            return
        start = self.order.get("start") or EMPTY_TREE
        words = self.ask("diff-tree", "-r", "-z", "--no-renames", "--diff-filter=AMT", start, tree).split("\0")
        blobs = {meta.split(" ")[3]: path for meta, path in zip(words[::2], words[1::2])}  # noqa: B905
        sizes = self.do("cat-file", "--batch-check=%(objectsize) %(objectname)", given="\n".join(blobs).encode())
        rows = [row.split(" ") for row in sizes.splitlines()]
        small = [blob for size, blob in rows if size.isdigit() and int(size) < LFS_POINTER]
        for blob in small[:LFS_FILES]:
            if self.is_kept_by_lfs(blob):
                shown = blobs[blob].encode("utf-8", "surrogateescape").decode("utf-8", "replace")
                self.left_out.append([shown, "kept by git LFS: only its pointer is saved"])

    def is_kept_by_lfs(self, blob: str) -> bool:
        """Whether it is a pointer (https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md) whose content is here."""
        text = self.run("cat-file", "blob", blob).stdout
        oid = text.partition(b"\noid sha256:")[2][:64].decode("ascii", "replace")
        here = os.path.join(self.inside("lfs/objects"), oid[:2], oid[2:4], oid)
        return text.startswith(b"version https://git-lfs") and len(oid) == 64 and os.path.exists(here)

    def commit(self, tree: str, head: str) -> str:
        """A commit of that tree on top of what is checked out."""
        parent = ["-p", head] if head else []
        return self.do("commit-tree", "--no-gpg-sign", tree, *parent, given=self.order["message"].encode())

    def may_follow(self) -> bool:
        """Whether branch and index may be moved without surprising whoever works here."""
        on_branch = self.ask("symbolic-ref", "-q", "HEAD") == "refs/heads/" + self.order["branch"]
        busy = os.path.exists(self.inside("index.lock"))
        return on_branch and not busy and not any(os.path.exists(self.inside(name)) for name in HALF_WAY)

    def follow(self, commit: str) -> None:
        """After a crash between branch and index: the index is made anew."""
        if (
            os.path.exists(self.inside("courier-index"))
            and self.ask("rev-parse", "HEAD") == commit
            and self.may_follow()
        ):
            self.run("reset", "-q")
            os.unlink(self.inside("courier-index"))

    def bundle(self, commit: str) -> int:
        """Size of the bundle of what the portal lacks, 0 when that is nothing."""
        have = [known for known in self.order["have"] if self.ask("cat-file", "-t", known) == "commit"]
        if commit in have or not self.ask("rev-list", "-n", "1", commit, *("^" + known for known in have)):
            return 0
        path = self.order["bundle"]
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self.do("bundle", "create", "-q", path, self.ref, *("^" + known for known in have))
        return os.path.getsize(path)

    def shallow(self) -> list[str]:
        """Commits whose parents are not here."""
        try:
            with open(self.inside("shallow")) as file:
                return file.read().split()
        except FileNotFoundError:
            return []


def main(order: dict[str, Any]) -> dict[str, Any]:
    """The answer to one order."""
    try:
        tree = Worktree(order)
        commit = tree.save()
        size = tree.bundle(commit) if commit else 0
        return {"commit": commit, "bytes": size, "left_out": tree.left_out[:100], "shallow": tree.shallow()}
    except Refused as refused:
        return {"error": str(refused)}


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))  # noqa: T201
