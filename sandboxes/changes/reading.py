"""Two states of a sandbox's work, and what differs between them; works as well after its machine is gone."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from codecourier import git
from sandboxes.checkpoints.store import EMPTY_TREE, Store
from sandboxes.models import Checkpoint, Sandbox

# A diff of more files is shown as far as this.
MOST_FILES = 5_000
# Of one file.
MOST_LINES, MOST_BYTES = 3_000, 512 * 1024
FOLDED_LINES = 400
SIMILAR = "-l2000"
START, LAST = "start", "last"
# Made by tools, not by hand: folded, as nobody reads them.
GENERATED = re.compile(
    r"(^|/)(package-lock\.json|npm-shrinkwrap\.json|yarn\.lock|pnpm-lock\.yaml|uv\.lock|poetry\.lock|Pipfile\.lock"
    r"|Cargo\.lock|go\.sum|composer\.lock|Gemfile\.lock|[^/]+\.min\.(js|css)|[^/]+\.(map|snap|pb\.go)|[^/]+_pb2\.pyi?)$"
    r"|(^|/)(node_modules|vendor|dist|build|__snapshots__)/"
)
WORDS = {"A": "added", "D": "deleted", "M": "changed", "R": "renamed", "C": "copied", "T": "changed"}
HUNK = re.compile(r"@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@(.*)")
LINK, MODULE = "120000", "160000"


@dataclass(frozen=True)
class Change:
    """One file of a diff; `additions` and `deletions` are None where it is no text."""

    path: str
    old_path: str
    status: str
    old_mode: str
    new_mode: str
    blobs: str
    additions: int | None
    deletions: int | None

    @cached_property
    def key(self) -> str:
        """The same as long as the file's change is the same."""
        return hashlib.sha256(f"{self.path}\0{self.blobs}".encode()).hexdigest()[:16]

    @property
    def word(self) -> str:
        """What happened to it."""
        return WORDS.get(self.status, "changed")

    @property
    def binary(self) -> bool:
        """It has no lines to show."""
        return self.additions is None

    @property
    def generated(self) -> bool:
        """Nobody wrote it."""
        return GENERATED.search(self.path) is not None

    @property
    def lines(self) -> int:
        """How many are shown, at least."""
        return (self.additions or 0) + (self.deletions or 0)

    @property
    def folded(self) -> bool:
        """Opened only when somebody wants to see it."""
        return self.generated or self.lines > FOLDED_LINES or self.status == "D"

    @property
    def mode(self) -> str:
        """A changed mode in words."""
        if self.new_mode == MODULE or self.old_mode == MODULE:
            return "submodule"
        if LINK in {self.old_mode, self.new_mode}:
            return "symbolic link"
        if "000000" in {self.old_mode, self.new_mode} or self.old_mode == self.new_mode:
            return ""
        return "made executable" if self.new_mode.endswith("755") else "not executable any more"

    @property
    def name(self) -> str:
        """Without its folder."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class Comparison:
    """From one commit to another, with the checkpoints that can be chosen."""

    store: Store
    base: str
    head: str
    base_name: str
    head_name: str
    saved: list[Checkpoint]

    @property
    def empty(self) -> bool:
        """There is nothing to compare."""
        return not self.head


def comparison(sandbox: Sandbox, base: str, head: str) -> Comparison:
    """By the names in an address: `start`, `last` (a turn before) or a checkpoint's number; unknown ones are usual."""
    saved = list(sandbox.checkpoints.stored().select_related("turn"))
    by_number = {str(row.pk): row for row in saved}
    newest = by_number.get(head) or (saved[-1] if saved else None)
    earlier = [row for row in saved if newest and row.pk < newest.pk]
    from_row = by_number.get(base) or (earlier[-1] if base == LAST and earlier else None)
    return Comparison(
        store=Store.of(sandbox.project),
        base=(from_row.commit if from_row else sandbox.start_commit) or EMPTY_TREE,
        head=newest.commit if newest else "",
        base_name=str(from_row.pk) if from_row else START,
        head_name=str(newest.pk) if newest else "",
        saved=saved,
    )


def changes(found: Comparison) -> list[Change]:
    """Every file that differs, in the order of their paths. git.GitError."""
    said = found.store.git("diff", "--raw", "--numstat", "-z", "--abbrev=40", "-M", SIMILAR, found.base, found.head)
    words = iter(said.decode(errors="replace").split("\0"))
    raw: dict[str, tuple[str, list[str]]] = {}
    counts: dict[str, tuple[str, str]] = {}
    for word in words:
        if word.startswith(":"):
            fields = word[1:].split(" ")
            old = next(words)
            raw[next(words) if fields[4][0] in "RC" else old] = (old, fields)
        elif word:
            added, gone, path = word.split("\t", 2)
            if not path:
                next(words)
                path = next(words)
            counts[path] = (added, gone)
    return sorted(
        (_change(path, *entry, *counts.get(path, ("-", "-"))) for path, entry in raw.items()),
        key=lambda change: change.path,
    )


def _change(path: str, old: str, fields: list[str], added: str, gone: str) -> Change:
    old_mode, new_mode, old_blob, new_blob, status = fields
    counts = (int(added), int(gone)) if added.isdigit() and gone.isdigit() else (None, None)
    return Change(path, old if old != path else "", status[0], old_mode, new_mode, f"{old_blob}{new_blob}", *counts)


def patch(found: Comparison, change: Change) -> tuple[str, bool]:
    """(the file's own diff, whether it is cut). git.GitError."""
    paths = [path for path in (change.old_path, change.path) if path]
    words = ("diff", "-M", "--no-color", "--no-ext-diff", "--no-textconv", found.base, found.head, "--", *paths)
    lines, size = list[str](), 0
    for raw in git.lines(("--literal-pathspecs", *words), at=found.store.path):
        size += len(raw)
        if len(lines) > MOST_LINES or size > MOST_BYTES:
            return "\n".join(_ended(lines)) + "\n", True
        lines.append(raw.decode(errors="replace"))
    return "\n".join(lines) + "\n", False


def _ended(lines: list[str]) -> list[str]:
    """A diff that was cut, with a last hunk that says how long it is now."""
    at = max((number for number, line in enumerate(lines) if line.startswith("@@ ")), default=None)
    if at is None or not (head := HUNK.match(lines[at])):
        return lines
    signs = [line[:1] for line in lines[at + 1 :]]
    old, new = (sum(sign in kinds for sign in signs) for kinds in ("- ", "+ "))
    return [*lines[:at], f"@@ -{head[1]},{old} +{head[2]},{new} @@{head[3]}", *lines[at + 1 :]]


def tree(found: list[Change]) -> dict[str, list[Change]]:
    """Folders with their files, as they are listed beside the diff; the first, empty one is that of the project."""
    folders: dict[str, list[Change]] = {}
    for change in found:
        folders.setdefault(change.path.rpartition("/")[0], []).append(change)
    return dict(sorted(folders.items()))


def whole_patch(found: Comparison) -> Iterator[bytes]:
    """What `git apply` takes, also for what is no text."""
    return git.chunks(
        ("diff", "--binary", "-M", "--no-color", "--no-ext-diff", found.base, found.head), at=found.store.path
    )


def bundle(found: Comparison, ref: str) -> Iterator[bytes]:
    """What `git fetch` takes: the commits that the start lacks."""
    nots = [] if found.base == EMPTY_TREE else [f"^{found.base}"]
    return git.chunks(("bundle", "create", "-q", "-", ref, *nots), at=found.store.path)


def archive(found: Comparison) -> Iterator[bytes]:
    """All files as they are at the end, as a zip."""
    return git.chunks(("archive", "--format=zip", found.head), at=found.store.path)
