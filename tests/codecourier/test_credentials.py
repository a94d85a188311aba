"""Which remote is shown which key: whoever may type an address must not learn a key by it."""

import os
import subprocess
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from codecourier import git, projects, remotes
from codecourier.models import Project, ProviderKey, User

GITHUB, OWN = "github-token-0123456789", "robot:own-password-0123"


@pytest.fixture
def keys(project: Project, owner: User, settings: Any) -> Project:
    """A project with a key of GitHub's and one of another host."""
    projects.set_key(project, owner, "github", GITHUB)
    projects.set_key(project, owner, "git", OWN, "https://git.example.com:8443/")
    settings.ALLOW_LOCAL_REPOSITORIES = False
    return project


@pytest.mark.parametrize(
    ("url", "secret"),
    [
        ("https://github.com/acme/shop.git", GITHUB),
        ("https://GitHub.com/acme/shop", GITHUB),
        ("https://git.example.com:8443/shop.git", OWN),
        ("https://git.example.com/shop.git", ""),
        ("https://github.com.evil.example/acme/shop.git", ""),
        ("https://evil.example/github.com/shop.git", ""),
        ("https://github.com@evil.example/shop.git", ""),
        ("http://github.com/acme/shop.git", ""),
        ("ssh://git@github.com/acme/shop.git", ""),
        ("git@github.com:acme/shop.git", ""),
        ("https://github.com:99999/acme", ""),
        ("/srv/git/shop", ""),
    ],
)
def test_a_key_goes_to_its_own_host_only(keys: Project, url: str, secret: str):
    found = remotes.credential(keys, url)
    assert (found.secret if found else "") == secret


def test_an_enterprise_server_gets_githubs_key_and_github_does_not(keys: Project, settings: Any):
    settings.PROVIDER_URLS = {"github": "https://ghe.example.com/api/v3"}
    there = remotes.credential(keys, "https://ghe.example.com/acme/shop.git")
    assert (there.secret if there else "") == GITHUB
    assert remotes.credential(keys, "https://github.com/acme/shop.git") is None


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ("https://git.example.com:8443", ("robot", "own-password-0123")),
        ("https://git.example.com", ("", "")),
        ("https://evil.example", ("", "")),
        ("http://git.example.com:8443", ("", "")),
    ],
)
def test_git_itself_asks_for_it_there_alone(keys: Project, asked: str, answer: tuple[str, str]):
    """As when a remote redirects elsewhere: the real git is asked for the other place's password."""
    found = remotes.credential(keys, "https://git.example.com:8443/shop.git")
    assert found
    protocol, _, host = asked.partition("://")
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_TERMINAL_PROMPT": "0", **found.env}
    said = subprocess.run(
        ["git", *found.options, "credential", "fill"],
        input=f"protocol={protocol}\nhost={host}\n\n", env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    got = dict(line.split("=", 1) for line in said.stdout.splitlines())
    assert (got.get("username", ""), got.get("password", "")) == answer


def test_no_key_is_an_argument_or_in_a_message():
    held = git.Credential("https://github.com", GITHUB)
    assert GITHUB not in repr(held)
    assert GITHUB not in " ".join(held.options)
    assert held.env == {"CODECOURIER_GIT_USER": "x-access-token", "CODECOURIER_GIT_KEY": GITHUB}


@pytest.mark.parametrize("origin", ["", "git.example.com", "https://git.example.com/path", "ftp://git.example.com"])
def test_a_key_for_another_host_names_it(project: Project, owner: User, origin: str):
    with pytest.raises(ValidationError):
        projects.set_key(project, owner, "git", OWN, origin)
    assert not ProviderKey.objects.exists()


def test_other_keys_have_their_own_hosts(project: Project, owner: User):
    with pytest.raises(ValidationError, match="have their own"):
        projects.set_key(project, owner, "github", GITHUB, "https://evil.example")
