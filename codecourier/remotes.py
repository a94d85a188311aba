"""Asking a git remote whether it is there and may be read, before anything is built on it."""

from django.core.exceptions import ValidationError

from . import git, github, repositories
from .models import Project, ProviderKey
from .repositories import origin_of

SECONDS = 15


def credential(project: Project, url: str) -> git.Credential | None:
    """The key for a remote, or None where it has to be public.

    Whoever may type an address must not learn a key by it: GitHub's key is shown to GitHub alone, the key for another
    remote to the one host that it was stored for. GitHubError when an app's key gives no token.
    """
    origin = origin_of(url)
    if not origin:
        return None
    if origin == github_origin(project):
        key, repository = project.key("github"), github.slug_of(url, origin)
        if not key:
            return None
        token = github.account(key, project.base_url("github"), repository).token if repository else key
        return git.Credential(origin, token)
    own = project.keys.filter(provider=ProviderKey.Provider.GIT, origin=origin).first()
    return git.Credential(origin, own.secret) if own else None


def github_origin(project: Project) -> str:
    """Where GitHub's repositories are: its own site, or the Enterprise server whose API the deployment names."""
    origin = origin_of(project.base_url("github"))
    return "https://github.com" if origin in {"", "https://api.github.com"} else origin


def check(url: str, branch: str = "", credential: git.Credential | None = None) -> None:
    """ValidationError with a sentence unless the repository answers, and has the branch if one is named."""
    repositories.validate(url)
    try:
        heads = ask(url, branch, credential)
    except git.GitError as error:
        said = "timed out" if error.late else error.said
        raise ValidationError({"repository_url": explained(said, bool(credential))}) from error
    if branch and not heads.strip():
        raise ValidationError({"default_branch": f"The repository has no branch {branch}."})


def ask(url: str, branch: str, credential: git.Credential | None) -> bytes:
    """`git ls-remote`; git.GitError when there is no answer."""
    names = [f"refs/heads/{branch}"] if branch else []
    return git.run(["ls-remote", "--heads", "--", url, *names], credential=credential, seconds=SECONDS)


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
