"""What the tests on the real processes share."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connections

from sandboxes import fleet
from sandboxes.checkpoints.store import Store
from sandboxes.models import Job, Output, Sandbox, Turn
from tests.githubserver.contract import contract
from tests.githubserver.server import GitHub, github
from tests.stack import Stack, running, wait_for


def turn_of(sandbox: Sandbox) -> Turn:
    """Its first turn, over and with its sandbox re-read."""

    def over() -> Turn | None:
        turn = Turn.objects.select_related("job").filter(sandbox=sandbox).order_by("pk").first()
        return turn if turn and turn.final else None

    turn = wait_for(over, f"the turn of sandbox {sandbox.pk} to end")
    sandbox.refresh_from_db()
    return turn


def status_of(sandbox: Sandbox, *statuses: str) -> Sandbox:
    """The sandbox once it has one of these statuses."""

    def reached() -> Sandbox | None:
        sandbox.refresh_from_db()
        return sandbox if sandbox.status in statuses else None

    return wait_for(reached, f"sandbox {sandbox.pk} to be {' or '.join(statuses)}")


def printed(job: Job | None, *streams: int) -> bytes:
    """What is stored of a job's output, in order."""
    rows = Output.objects.filter(job=job, stream__in=streams or [1, 2, 3]).order_by("seq")
    return b"".join(bytes(data) for data in rows.values_list("data", flat=True))


def saved(sandbox: Sandbox, path: str) -> str:
    """A file as its last checkpoint has it."""
    row = sandbox.checkpoints.stored().last()
    assert row, [f"{row}: {row.status} {row.detail}" for row in sandbox.checkpoints.all()]
    return Store.of(sandbox.project).git("show", f"{row.commit}:{path}").decode()


def end(sandbox: Sandbox) -> None:
    """Have it stopped; that its machine goes is seen when all tests here are over."""
    fleet.stop(sandbox, None)


def all_gone() -> bool:
    """Whether no sandbox has a machine any more."""
    return not Sandbox.objects.filter(released_at=None).exclude(provider_id="").exists()


def git(folder: Path, *words: str) -> str:
    """A git command's stdout."""
    identity = ["-c", "user.name=T", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", "-C", str(folder), *identity, *words], check=True, capture_output=True, text=True)
    return done.stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A small real repository with a second branch."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "README").write_text("hello\n")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "First")
    git(folder, "checkout", "-qb", "side")
    (folder / "SIDE").write_text("side\n")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "Second")
    git(folder, "checkout", "-q", "main")
    return folder


@pytest.fixture(scope="package")
def github_server(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[GitHub]:
    """GitHub, which the portal and the sandboxes can reach: 127.0.0.1 would be the sandbox itself."""
    folder = Path(pytestconfig.cache.mkdir("github-openapi"))
    with github(tmp_path_factory.mktemp("github"), contract(folder), "127.0.0.2") as hub:
        yield hub


@pytest.fixture(scope="package")
def running_stack(
    django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory, github_server: GitHub
) -> Iterator[Stack]:
    """The real processes, started once for these tests."""
    state = tmp_path_factory.mktemp("stack")
    with django_db_blocker.unblock(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "STATE", state)
        patch.setitem(settings.PROVIDER_URLS, "github", github_server.api)
        reach = github_server.url.removeprefix("http://")
        with running(state, reach, CODECOURIER_GITHUB_BASE_URL=github_server.api) as stack:
            yield stack
            for sandbox in Sandbox.objects.exclude(status__in=Sandbox.FINAL):
                end(sandbox)
            wait_for(all_gone, "every machine to be gone")
        connections.close_all()


@pytest.fixture
def stack(running_stack: Stack, django_db_blocker: Any) -> Iterator[Stack]:
    """The real processes; whatever a test killed is started again after it."""
    with django_db_blocker.unblock():
        yield running_stack
        running_stack.start(
            *(name for name in ("host", "worker", "relay", "web") if name not in running_stack.processes)
        )
