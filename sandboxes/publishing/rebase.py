"""The work's commits anew on top of others, in the portal's own repository without a checkout.

A commit keeps its author, its message and its dates, so the same work on the same commit gives the same commits again:
what comes later is added to what is pushed already, nothing is forced over it.
"""

import re
from collections.abc import Iterator

from codecourier.models import Project
from sandboxes.checkpoints.store import Store

from .merge import Conflict, tree_of

# More commits than this are merged.
MOST = 200
# Of the old commit alone: what names its tree and parents, and what signs them (git help signature-format).
OWN = re.compile(rb"(tree|parent|gpgsig|gpgsig-sha256|mergetag) ")


def rebased(project: Project, commit: str, onto: str) -> str | None:
    """The commits of `commit` that `onto` lacks, on top of it; `onto` itself when there are none.

    None when a merge is among them, which another order of commits would undo, or too many. Conflict where a commit
    changes what `onto` has otherwise; git.GitError.
    """
    store = Store.of(project)
    base = store.git("merge-base", commit, onto).decode().strip()
    if base in {commit, onto}:
        return commit if base == onto else onto
    rows = store.git("rev-list", "--reverse", "--topo-order", "--parents", f"{onto}..{commit}").decode().splitlines()
    steps = [row.split() for row in rows]
    if len(steps) > MOST or any(len(step) != 2 for step in steps):
        return None
    tip = onto
    for step, parent in steps:
        tip = _replayed(store, project, step, parent, tip)
    return tip


def _replayed(store: Store, project: Project, step: str, parent: str, tip: str) -> str:
    """One commit's changes on top of `tip`; `tip` itself where they are there already."""
    if parent == tip:
        return step
    # The tip's files as a child of the commit's own parent: so their merge has the right base.
    there = store.git("rev-parse", f"{tip}^{{tree}}").decode().strip()
    who = ("-c", "user.name=x", "-c", "user.email=x")
    beside = store.git(*who, "commit-tree", "-p", parent, "-m", "beside", there).decode().strip()
    tree, conflicts = tree_of(store, beside, step)
    if conflicts:
        raise Conflict(conflicts)
    if tree == there:
        return tip
    text = b"".join(_rewritten(store.git("cat-file", "commit", step), tree, tip))
    return store.git("hash-object", "-t", "commit", "-w", "--stdin", given=text).decode().strip()


def _rewritten(text: bytes, tree: str, parent: str) -> Iterator[bytes]:
    """A commit's text with another tree and parent."""
    head, empty, message = text.partition(b"\n\n")
    yield f"tree {tree}\nparent {parent}\n".encode()
    dropped = False
    for line in head.split(b"\n"):
        # A line that begins with a space goes on with what the one before it has begun.
        dropped = bool(OWN.match(line)) if not line.startswith(b" ") else dropped
        if not dropped:
            yield line + b"\n"
    yield empty[1:] + message
