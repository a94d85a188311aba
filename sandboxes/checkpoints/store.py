"""A project's bare repository on the portal: what its machines brought, and what is read of it.

refs/checkpoints/<sandbox>/<checkpoint>   one commit each, kept as long as the sandbox's row

What was fetched from its remotes is in copies beside it (`sandboxes.mirrors`), whose objects it has too.
"""

import fcntl
import re
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from django.conf import settings

from codecourier import git
from codecourier.models import Project
from sandboxes.mirrors.mirror import folder_of

EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
COMMIT = re.compile(r"[0-9a-f]{40}\Z")
SECONDS = 300


def ref_of(sandbox_id: int, checkpoint_id: int) -> str:
    """Where a checkpoint's commit is kept."""
    return f"{refs_of(sandbox_id)}{checkpoint_id}"


def refs_of(sandbox_id: int) -> str:
    """What the refs of a sandbox's checkpoints begin with."""
    return f"refs/checkpoints/{sandbox_id}/"


class Broken(Exception):
    """What a machine handed over is not what it should be; the message says why."""


@dataclass(frozen=True)
class Size:
    """Of the difference between two commits."""

    files: int
    additions: int
    deletions: int


class Store:
    """The repository of one project; made when something is first put into it."""

    def __init__(self, project_id: int) -> None:
        self.project_id = project_id
        self.path: Path = settings.STATE / "repositories" / f"{project_id}.git"

    @classmethod
    def of(cls, project: Project) -> "Store":
        """The project's own."""
        return cls(project.pk)

    def git(self, *words: str | Path, seconds: float = SECONDS, given: bytes | BinaryIO = b"") -> bytes:
        """A command in it; git.GitError when it fails."""
        return git.run(words, at=self.path, seconds=seconds, given=given)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Alone with it, however many processes or hosts share the folder."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self.path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (self.path / "HEAD").exists():
                git.run(["init", "-q", "--bare", self.path])
                # Objects that a machine or another process reads are never taken from under it.
                self.git("config", "gc.auto", "0")
            yield

    def has(self, commit: str) -> bool:
        """Whether the commit is here with all of its history."""
        if not COMMIT.match(commit) or not self.path.is_dir():
            return False
        try:
            self.git("rev-list", "--quiet", "--objects", "-n", "1", commit)
        except git.GitError:
            return False
        return True

    def take(self, bundle: Path, ref: str, commit: str, shallow: Sequence[str] = ()) -> None:
        """Bring a bundle in, every object checked, and keep its commit as `ref`; Broken when it is not all there.

        `shallow` are commits whose parents the machine never had, so that nobody looks for them.
        """
        with self.locked():
            self._cut(shallow)
            try:
                self._unpack(bundle)
                self.git("rev-list", "--quiet", "--objects", commit, "--not", "--all", "--alternate-refs")
            except git.GitError as error:
                raise Broken(f"What the machine handed over is no repository that can be kept. {error}") from error
            self.git("update-ref", ref, commit)

    def _unpack(self, bundle: Path) -> None:
        """The bundle's objects, each of them checked: git's own way from a bundle into a repository checks none."""
        self.git("bundle", "verify", "-q", bundle)
        with bundle.open("rb", buffering=0) as file:
            file.seek(_pack_at(bundle))
            slips = ",".join(f"{slip}=ignore" for slip in git.FORGIVEN)
            try:
                self.git("index-pack", "--stdin", "--fix-thin", f"--strict={slips}", given=file)
            finally:
                for unfinished in self.path.glob("objects/pack/tmp_*"):
                    unfinished.unlink(missing_ok=True)

    def _cut(self, shallow: Sequence[str]) -> None:
        found = self.path / "shallow"
        known = found.read_text().split() if found.exists() else []
        new = [commit for commit in shallow if COMMIT.match(commit) and commit not in known and not self.has(commit)]
        if new:
            found.write_text("".join(f"{commit}\n" for commit in [*known, *new]))

    def borrow(self, mirror: Path) -> None:
        """Have the objects of a remote's copy as well, which never loses one."""
        line = f"../../{mirror.relative_to(self.path.parent)}/objects\n"
        listed = self.path / "objects" / "info" / "alternates"
        if listed.exists() and line in listed.read_text().splitlines(keepends=True):
            return
        with self.locked(), listed.open("a") as file:
            file.write(line)

    def pack(self, place: Path, tips: Collection[str], known: Collection[str]) -> list[Path]:
        """Files of packs, made in `place`, with all that the tips need and the known commits have not."""
        asked = "".join(f"{tip}\n" for tip in tips if tip) + "".join(f"^{commit}\n" for commit in known)
        self.git("pack-objects", "-q", "--revs", place / "pack", given=asked.encode())
        return sorted(place.glob("pack-*.pack")) + sorted(place.glob("pack-*.idx"))

    def cut(self, commit: str) -> bytes:
        """Of a commit's history those whose parents are not here, a line each, as git keeps them."""
        known = set(self.shallow().split())
        roots = self.git("rev-list", "--max-parents=0", commit).split() if known else []
        return b"".join(root + b"\n" for root in roots if root in known)

    def known(self, commits: Sequence[str]) -> list[str]:
        """Those of them that are here."""
        asked = "".join(f"{commit}\n" for commit in commits if COMMIT.match(commit)).encode()
        rows = self.git("cat-file", "--batch-check=%(objecttype) %(objectname)", given=asked).decode().splitlines()
        return [row.removeprefix("commit ") for row in rows if row.startswith("commit ")]

    def shallow(self) -> bytes:
        """The commits whose parents are not here, a line each."""
        found = self.path / "shallow"
        return found.read_bytes() if found.exists() else b""

    def keep(self, ref: str, commit: str) -> None:
        """Have a ref for a commit that is here already."""
        with self.locked():
            self.git("update-ref", ref, commit)

    def commit_of(self, ref: str) -> str:
        """What a ref points to, empty without one."""
        try:
            return self.git("rev-parse", "-q", "--verify", f"{ref}^{{commit}}").decode().strip()
        except git.GitError:
            return ""

    def forget(self, prefix: str) -> None:
        """Drop every ref below a prefix."""
        if not self.path.is_dir():
            return
        with self.locked():
            refs = self.git("for-each-ref", "--format=delete %(refname)", prefix)
            self.git("update-ref", "--stdin", given=refs)

    def remove(self) -> None:
        """All of it: its project is gone."""
        shutil.rmtree(self.path, ignore_errors=True)
        shutil.rmtree(folder_of(self.project_id), ignore_errors=True)
        self.path.with_suffix(".lock").unlink(missing_ok=True)

    def size(self, base: str, commit: str) -> Size:
        """How much differs; an empty base is a folder that had nothing."""
        rows = (
            self.git("diff", "--numstat", "-M", "-l", "2000", base or EMPTY_TREE, commit)
            .decode(errors="replace")
            .splitlines()
        )
        counts = [row.split("\t", 2)[:2] for row in rows]
        added, gone = (
            [int(count) for count in column if count.isdigit()]
            for column in ([a for a, _ in counts], [d for _, d in counts])
        )
        return Size(len(rows), sum(added), sum(gone))


def _pack_at(bundle: Path) -> int:
    """Where the pack begins, behind the header's empty line (git help bundle-format)."""
    with bundle.open("rb") as file:
        while file.readline() not in {b"\n", b""}:
            pass
        return file.tell()
