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
    said = git.run(
        ["merge-tree", "--write-tree", "--name-only", "--no-messages", "-z", commit, onto], at=store.path, ends=(0, 1)
    )
    tree, *paths = said.decode(errors="replace").split("\0")
    if conflicts := [path for path in paths if path]:
        raise Conflict(conflicts)
    who = ("-c", f"user.name={project.git_name}", "-c", f"user.email={project.git_email}")
    return store.git(*who, "commit-tree", "-p", commit, "-p", onto, "-m", message, tree).decode().strip()
