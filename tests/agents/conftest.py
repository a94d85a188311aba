"""The product with the real CLIs, started once for the tests of this folder that ask for it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connections

from tests.agents.harness import AgentStack, running
from tests.githubserver.contract import contract
from tests.githubserver.server import GitHub, github


@pytest.fixture(scope="package")
def agents_github(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[GitHub]:
    """GitHub for what the agents did."""
    folder = Path(pytestconfig.cache.mkdir("github-openapi"))
    with github(tmp_path_factory.mktemp("github"), contract(folder), "127.0.0.2") as hub:
        yield hub


@pytest.fixture(scope="package")
def agent_stack(
    django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory, agents_github: GitHub
) -> Iterator[AgentStack]:
    """Host, worker, relay, model server, and GitHub."""
    state = tmp_path_factory.mktemp("agents")
    with django_db_blocker.unblock(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "STATE", state)
        patch.setitem(settings.PROVIDER_URLS, "github", agents_github.api)
        with running(state, CODECOURIER_GITHUB_BASE_URL=agents_github.api) as stack:
            yield stack
        connections.close_all()
