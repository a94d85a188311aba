"""Whether a provider takes a key: one cheap call of its API that changes nothing and costs nothing."""

import json
import urllib.error
import urllib.request
from dataclasses import dataclass

from django.core.exceptions import ValidationError

from . import git, github, remotes, repositories
from .models import Project, ProviderKey

P = ProviderKey.Provider
SECONDS = 15


@dataclass(frozen=True)
class Probe:
    """Where to ask, relative to the provider's base URL, and with which header."""

    base: str
    path: str
    header: str
    prefix: str = ""


PROBES = {
    P.E2B: Probe("https://api.e2b.app", "/v2/sandboxes?limit=1", "X-API-KEY"),
    P.ANTHROPIC: Probe("https://api.anthropic.com", "/v1/models?limit=1", "x-api-key"),
    P.ANTHROPIC_TOKEN: Probe("https://api.anthropic.com", "/v1/models?limit=1", "Authorization", "Bearer "),
    P.OPENAI: Probe("https://api.openai.com/v1", "/models", "Authorization", "Bearer "),
    P.OPENROUTER: Probe("https://openrouter.ai/api/v1", "/key", "Authorization", "Bearer "),
    P.GITHUB: Probe("https://api.github.com", "/user", "Authorization", "Bearer "),
}


def check(key: ProviderKey, project: Project) -> tuple[bool, str]:
    """(works, a sentence). Never raises for what a network or a provider does."""
    if key.provider == P.GIT:
        return _read_repository(key, project)
    if key.provider == P.GITHUB and github.APP.match(key.secret):
        return _app(key, project)
    probe = PROBES[P(key.provider)]
    base = project.base_url(key.provider.removesuffix("_token")).rstrip("/") or probe.base
    headers = {
        probe.header: probe.prefix + key.secret, "anthropic-version": "2023-06-01", "User-Agent": "CodeCourier",
        "Accept": "application/json",
    }  # fmt: skip
    name = key.get_provider_display()
    try:
        request = urllib.request.Request(base + probe.path, headers=headers)  # noqa: S310
        with urllib.request.build_opener(NoRedirect).open(request, timeout=SECONDS) as answer:
            json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code in {401, 403}:
            return False, f"{name} refused the key."
        return False, f"{name} answered with status {error.code}, so the key could not be judged."
    except (OSError, ValueError):
        return False, f"{name} could not be reached, so the key could not be judged."
    return True, f"{name} takes the key."


def _app(key: ProviderKey, project: Project) -> tuple[bool, str]:
    repository = github.slug_of(project.repository_url, remotes.github_origin(project))
    if repository is None:
        return False, "An app can be tried only when the project's repository is at GitHub."
    try:
        github.account(key.secret, project.base_url("github"), repository)
    except github.GitHubError as error:
        return False, str(error)
    return True, f"GitHub gives the app a token for {repository}."


def _read_repository(key: ProviderKey, project: Project) -> tuple[bool, str]:
    if repositories.origin_of(project.repository_url) != key.origin:
        return False, f"The project's repository is not at {key.origin}, so the key could not be tried."
    try:
        remotes.check(project.repository_url, "", git.Credential(key.origin, key.secret))
    except ValidationError as error:
        return False, " ".join(error.messages)
    return True, f"{key.origin} takes the key."


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """A key goes nowhere else than where it is meant to."""

    def redirect_request(self, *_: object) -> None:
        """Leave the redirect to be reported as it is."""
