"""The product with the real CLIs, started once for the tests of this folder that ask for it."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.db import connections

from tests.agents.harness import AgentStack, running


@pytest.fixture(scope="package")
def agent_stack(
    django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AgentStack]:
    """Host, worker, relay and model server."""
    state = tmp_path_factory.mktemp("agents")
    with django_db_blocker.unblock(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "STATE", state)
        with running(state) as stack:
            yield stack
        connections.close_all()
