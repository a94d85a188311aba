"""A running sandbox with a real machine of the local host, without a boot: for what people do in a machine."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from asgiref.sync import sync_to_async
from django.conf import LazySettings
from django.db import connections
from django.test import Client

from codecourier.models import Project, User
from sandboxes import e2b
from sandboxes.models import Sandbox, Template
from tests.local_host import Host
from tests.sandboxes.pages import make


@pytest.fixture(scope="module")
def machine(local_host_process: Host) -> Iterator[e2b.Machine]:
    """A machine with an empty project folder, for a module's tests."""
    host = local_host_process
    local = e2b.Provider(e2b.LOCAL, host.api_key, host.api_url, host.sandbox_url)
    made = e2b.create(local, template="script-1c-512m", metadata={}, envs={}, key=secrets.token_hex(8))
    made.run(f"mkdir -p {e2b.HOME}/project", "make the folder")
    yield made
    e2b.kill(local, made.id)


@pytest.fixture
def local(local_host_process: Host, settings: LazySettings, tmp_path: Path) -> None:
    """The provider that the product finds by its settings."""
    host = local_host_process
    settings.STATE = tmp_path
    (tmp_path / "host").mkdir()
    lines = f"E2B_API_URL={host.api_url}\nE2B_SANDBOX_URL={host.sandbox_url}\nE2B_API_KEY={host.api_key}\n"
    (tmp_path / "host" / "env").write_text(lines)


@pytest.fixture
def sandbox(machine: e2b.Machine, local: None, db: None, project: Project, member: User, template: Template) -> Sandbox:
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
