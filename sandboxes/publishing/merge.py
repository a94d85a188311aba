"""The base branch's changes in a sandbox's branch, merged in the portal's own repository without a checkout."""

from codecourier import git, remotes
from codecourier.models import Project
from sandboxes.checkpoints.store import Store

SECONDS = 300
SHOWN = 5


class Conflict(Exception):
    """Both sides changed the same; the sentence names where."""

    def __init__(self, paths: list[str]) -> None:
        more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
        super().__init__(f"Both sides changed the same lines of {', '.join(paths[:SHOWN])}{more}.")
        self.paths = paths


def fetch(project: Project, url: str, branch: str, ref: str) -> str:
    """The remote's branch under `ref` in the project's repository; its commit. git.GitError."""
    store = Store.of(project)
    with store.locked():
        git.run(
            ["fetch", "-q", "--no-tags", "--no-write-fetch-head", "--", url, f"+refs/heads/{branch}:{ref}"],
            at=store.path, credential=remotes.credential(project, url), seconds=SECONDS,
        )  # fmt: skip
    return store.commit_of(ref)


def merged(project: Project, commit: str, onto: str, message: str) -> str:
    """`commit` with the changes of `onto` in it: one of both where it has the other, else a merge commit.

    Conflict where both changed the same; git.GitError.
    """
    store = Store.of(project)
    base = store.git("merge-base", commit, onto).decode().strip()
    if base in {commit, onto}:
        return commit if base == onto else onto
    tree, conflicts = tree_of(store, commit, onto)
    if conflicts:
        raise Conflict(conflicts)
    who = ("-c", f"user.name={project.git_name}", "-c", f"user.email={project.git_email}")
    return store.git(*who, "commit-tree", "-p", commit, "-p", onto, "-m", message, tree).decode().strip()


def part_of(project: Project, commit: str, other: str) -> bool:
    """Whether `other` has `commit` in its history; nothing is part of everything."""
    return not commit or Store.of(project).git("merge-base", commit, other).decode().strip() == commit


def tree_of(store: Store, ours: str, theirs: str) -> tuple[str, list[str]]:
    """The tree of two commits' merge, and the paths that both sides changed differently."""
    words = ["merge-tree", "--write-tree", "--name-only", "--no-messages", "-z", ours, theirs]
    tree, *paths = git.run(words, at=store.path, ends=(0, 1)).decode(errors="replace").split("\0")
    return tree, [path for path in paths if path]
