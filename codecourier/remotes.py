"""Asking a git remote whether it is there and may be read, before anything is built on it."""

from django.core.exceptions import ValidationError

from . import git, repositories

SECONDS = 15


def check(url: str, branch: str = "", key: str = "") -> None:
    """ValidationError with a sentence unless the repository answers, and has the branch if one is named."""
    repositories.validate(url)
    try:
        heads = ask(url, branch, key)
    except git.GitError as error:
        said = "timed out" if error.late else error.said
        raise ValidationError({"repository_url": explained(said, bool(key))}) from error
    if branch and not heads.strip():
        raise ValidationError({"default_branch": f"The repository has no branch {branch}."})


def ask(url: str, branch: str, key: str) -> bytes:
    """`git ls-remote`; git.GitError when there is no answer."""
    names = [f"refs/heads/{branch}"] if branch else []
    return git.run(["ls-remote", "--heads", "--", url, *names], key=key, seconds=SECONDS)


def explained(said: str, with_key: bool) -> str:
    """What git's complaint means for the person who typed the address."""
    low = said.lower()
    if "timed out" in low:
        return f"The repository did not answer within {SECONDS} seconds. Check the address."
    if any(sign in low for sign in ("authentication failed", "could not read username", "403", "401")):
        return (
            "The repository refused the project's key: it may lack the right to read it." if with_key
            else "The repository is private. Store a key for it first, then save the address."
        )  # fmt: skip
    if "not found" in low or "does not appear to be a git repository" in low or "does not exist" in low:
        return "There is no repository at this address, or the key may not see it."
    if "could not resolve" in low:
        return "The address names a host that does not exist."
    return "The repository could not be read. Check the address, and the key if it is private."
