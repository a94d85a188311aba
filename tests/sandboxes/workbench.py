"""A running sandbox with a real machine of the local host, without a boot: for what people do in a machine."""

import secrets
from collections.abc import Iterator

import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from django.test import Client

from codecourier.models import Project, User
from sandboxes import e2b
from sandboxes.models import Sandbox, Template
from tests.faults import Faults
from tests.sandboxes.pages import make


@pytest.fixture
def machine(provider: Faults) -> Iterator[e2b.Machine]:
    """A machine with an empty project folder, gone after the test."""
    local = e2b.local_provider()
    made = e2b.create(local, template="script-1c-512m", metadata={}, envs={}, key=secrets.token_hex(8))
    made.run(f"mkdir -p {e2b.HOME}/project", "make the folder")
    yield made
    e2b.kill(local, made.id)


@pytest.fixture
def sandbox(machine: e2b.Machine, transactional_db: None, project: Project, member: User, template: Template) -> Sandbox:
    """Its row, running."""
    return make(project, template, title="Work here", provider="local", provider_id=machine.id, created_by=member)


def cookies(user: User | None) -> list[tuple[bytes, bytes]]:
    """The headers of this person's browser, as it opens a socket."""
    client = Client()
    if user:
        client.force_login(user)
    value = "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())
    return [(b"cookie", value.encode()), (b"origin", b"http://localhost"), (b"host", b"localhost")]


async def disconnected() -> None:
    """Give back the connections of the threads that this test used."""
    await sync_to_async(connections.close_all)()
