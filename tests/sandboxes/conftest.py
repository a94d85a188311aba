"""A real sandbox host behind a proxy that can have a bad day."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.utils import timezone

from codecourier import registries
from codecourier.lifecycle import sweep
from codecourier.models import Project, User
from sandboxes import e2b, fleet
from sandboxes.models import Sandbox, Template
from tests import faults, local_host
from tests.cloud import Templates
from tests.cloud import serving as serving_cloud


@pytest.fixture(scope="session")
def local_host_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[local_host.Host]:
    """The host, started once for the run."""
    with local_host.serving(tmp_path_factory.mktemp("host")) as host:
        yield host


@pytest.fixture
def provider(local_host_process: local_host.Host, settings: LazySettings, tmp_path: Path) -> Iterator[faults.Faults]:
    """The provider that new sandboxes use."""
    with faults.proxy(local_host_process.api_url) as proxy:
        settings.STATE = tmp_path
        settings.DEPLOYMENT = f"test-{tmp_path.name}".lower().replace("_", "-")
        (tmp_path / "host").mkdir()
        (tmp_path / "host" / "env").write_text(
            f"E2B_API_URL={proxy.url}\nE2B_SANDBOX_URL={local_host_process.sandbox_url}\nE2B_API_KEY={local_host_process.api_key}\n"
        )
        yield proxy


@pytest.fixture
def launch(project: Project, owner: User, template: Template) -> Iterator[Callable[..., Sandbox]]:
    """Launches sandboxes of the project; what lives at the end of the test is removed."""
    made: list[Sandbox] = []

    def make(prompt: str = "", **fields: Any) -> Sandbox:
        made.append(fleet.launch(project, owner, template=template, prompt=prompt, **fields))
        return made[-1]

    yield make
    for sandbox in made:
        sandbox.refresh_from_db()
        if sandbox.provider_id and not sandbox.released_at:
            e2b.kill(e2b.provider_of(sandbox.project), sandbox.provider_id)


@dataclass(frozen=True)
class Cloud:
    """The provider that new sandboxes use, and the templates of its account."""

    faults: faults.Faults
    templates: Templates


@pytest.fixture
def cloud(local_host_process: local_host.Host, settings: LazySettings, tmp_path: Path) -> Iterator[Cloud]:
    """A provider where cpu and memory are fixed in the template, by a key of the deployment."""
    with serving_cloud(local_host_process.api_url) as (proxy, templates):
        settings.DEPLOYMENT = f"test-{tmp_path.name}".lower().replace("_", "-")
        settings.E2B_API_KEY = local_host_process.api_key
        settings.PROVIDER_KEYS = {"e2b": local_host_process.api_key}
        settings.E2B_API_URL, settings.E2B_SANDBOX_URL = proxy.url, local_host_process.sandbox_url
        yield Cloud(proxy, templates)


@pytest.fixture
def look(work: Callable[[], int]) -> Callable[[], None]:
    """Has everything that waits looked at now instead of when it is due."""

    def now() -> None:
        for model in registries.sweepers:
            model._default_manager.filter(due_at__isnull=False).update(due_at=timezone.now())
        sweep()
        work()

    return now
