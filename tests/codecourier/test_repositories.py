"""Which repositories a machine may be sent to."""

from pathlib import Path

import pytest
from django.conf import LazySettings
from django.core.exceptions import ValidationError

from codecourier import repositories


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/owner/name.git",
        "https://token-user@github.com/owner/name",
        "ssh://git@example.com:2222/owner/name.git",
        "git@github.com:owner/name.git",
    ],
)
@pytest.mark.parametrize("local", [True, False])
def test_public_repositories_are_taken(url: str, local: bool, settings: LazySettings) -> None:
    settings.ALLOW_LOCAL_REPOSITORIES = local
    repositories.validate(url)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://github.com/owner/name", "https or ssh"),
        ("file:///etc", "Local paths are not allowed"),
        ("/srv/repository", "Local paths are not allowed"),
        ("../repository", "Local paths are not allowed"),
        ("https://127.0.0.1/x", "private address"),
        ("https://[::1]/x", "private address"),
        ("https://10.1.2.3/x", "private address"),
        ("https://169.254.169.254/latest", "private address"),
        ("https://localhost/x", "private address"),
        ("git@intranet:x/y.git", "private address"),
        ("ext::sh -c id", "no spaces"),
        ("ext::id", "https or ssh"),
        ("-oProxyCommand=id", "dash"),
        ("https://user:secret@example.com/x", "Leave the password"),
        ("https://", "https or ssh"),
        ("git@example.com:-x", "https or ssh"),
        ("https://exa\nmple.com/x", "control characters"),
    ],
)
def test_a_deployment_refuses_what_could_harm_it(url: str, words: str, settings: LazySettings) -> None:
    settings.ALLOW_LOCAL_REPOSITORIES = False
    with pytest.raises(ValidationError, match=words):
        repositories.validate(url)


def test_a_local_path_must_be_a_folder(settings: LazySettings, tmp_path: Path) -> None:
    settings.ALLOW_LOCAL_REPOSITORIES = True
    repositories.validate(str(tmp_path))
    with pytest.raises(ValidationError, match="not a folder"):
        repositories.validate(str(tmp_path / "absent"))
