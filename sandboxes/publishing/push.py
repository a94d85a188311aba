"""The portal pushes from its own repository, with the project's key, to the sandbox's one branch."""

import re
from collections.abc import Collection, Mapping

from codecourier import git, remotes, repositories
from codecourier.models import Project
from sandboxes.checkpoints.store import Store

SECONDS = 300
ASK_SECONDS = 30
# What a remote says of a push, and what a person can do about it (https://docs.github.com/get-started/using-git).
CAUSES = (
    (
        r"GH013|push declined due to .*secret|PUSH PROTECTION",
        "GitHub found a secret in it and refuses it. Take it out, or allow it there.",
    ),
    (r"GH006|protected branch", "The branch is protected there. Change the pattern of branch names or the protection."),
    (r"GH001|larger than|size limit", "A file is larger than the remote takes. Have the agent remove it again."),
    (r"stale info|fetch first|non-fast-forward", "Somebody else has pushed to this branch. Nothing was overwritten."),
    (r"hook declined", "A rule of the remote refused it."),
    (
        r"Authentication failed|could not read Username|401",
        "The remote refused the project's key: it is wrong, expired or missing.",
    ),
    (
        r"403|Permission .* denied|Write access .* not granted|read-only|Resource not accessible",
        "The project's key may not write there. Give it that right, or store another.",
    ),
    (
        r"not found|does not exist|does not appear to be",
        "There is no repository at that address, or the key may not see it.",
    ),
)
PASSING = (
    r"(HTTP|error:|status) 5\d\d|timed out|took longer|Could not resolve|Connection (refused|reset)|Failed to connect"
    r"|hung up|early EOF|Empty reply"
)


class PushError(Exception):
    """The branch is not at the remote; the sentence says why. `passing` faults are worth another try by itself."""

    def __init__(self, sentence: str, *, passing: bool = False) -> None:
        super().__init__(sentence)
        self.passing = passing


def heads(project: Project, url: str) -> dict[str, str]:
    """The remote's branches by name, and under `HEAD` the name of its default branch; PushError."""
    try:
        said = git.run(
            ["ls-remote", "--symref", "--", url, "HEAD", "refs/heads/*"],
            credential=remotes.credential(project, url), seconds=ASK_SECONDS,
        )  # fmt: skip
    except git.GitError as error:
        raise explained(error) from error
    found: dict[str, str] = {}
    for row in said.decode(errors="replace").splitlines():
        value, _, name = row.partition("\t")
        if name == "HEAD" and value.startswith("ref: refs/heads/"):
            found["HEAD"] = value.removeprefix("ref: refs/heads/")
        elif name.startswith("refs/heads/"):
            found[name.removeprefix("refs/heads/")] = value
    return found


def push(project: Project, url: str, branch: str, commit: str, known: Mapping[str, str], ours: Collection[str]) -> None:
    """Bring the branch to the commit; PushError when it can't be.

    `known` are the remote's branches, `ours` are commits that we have pushed: a branch that stands elsewhere by now is
    somebody else's and is left alone.
    """
    repositories.validate_branch(branch)
    there = known.get(branch, "")
    if there == commit:
        return
    if there and there not in ours:
        raise PushError(
            f"{branch}: {CAUSES[3][1]}"
            if ours
            else f"The remote has a branch {branch} already, with other work. Nothing was overwritten."
        )
    words = [
        "push",
        "--no-verify",
        f"--force-with-lease=refs/heads/{branch}:{there}",
        "--",
        url,
        f"{commit}:refs/heads/{branch}",
    ]
    try:
        git.run(words, at=Store.of(project).path, credential=remotes.credential(project, url), seconds=SECONDS)
    except git.GitError as error:
        raise explained(error) from error


def explained(error: git.GitError) -> PushError:
    """What git said, as a sentence for a person."""
    if error.late or re.search(PASSING, error.said):
        return PushError("The remote can't be reached just now. It is tried again.", passing=True)
    cause = next((sentence for pattern, sentence in CAUSES if re.search(pattern, error.said, re.IGNORECASE)), "")
    return PushError(cause or f"The remote did not take the branch. {str(error)[:300]}")
