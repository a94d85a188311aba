"""People, a project and the queue, for every test."""

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django_q.models import OrmQ
from django_q.signing import SignedPackage
from hypothesis import settings as hypothesis_settings
from xdist.scheduler import LoadScopeScheduling

from codecourier import queue
from codecourier.models import Membership, Project, User
from sandboxes.models import Template
from tests import embedded_postgres, migrated
from tests.githubserver.contract import contract
from tests.githubserver.server import GitHub, github

# The product's processes are started many times over: their modules are compiled once.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# No time limits, for a machine that is busy; in CI the same examples each time, so that red is about the change.
hypothesis_settings.register_profile("here", deadline=None, derandomize="CODECOURIER_CI" in os.environ)
hypothesis_settings.load_profile("here")


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_blocker: Any) -> Iterator[None]:
    """Start the server and name this run's database; pytest-django asks for it before it makes the test database."""
    with embedded_postgres.running() as address:
        with django_db_blocker.unblock():
            template = migrated.template(address)
        test = {"NAME": f"{embedded_postgres.PREFIX}{os.getpid()}", "TEMPLATE": template}
        settings.DATABASES["default"].setdefault("TEST", {}).update(test)
        yield


@pytest.fixture
def hub(tmp_path: Path, pytestconfig: pytest.Config) -> Iterator[GitHub]:
    """GitHub, as far as it can be had here."""
    folder = tmp_path / "hub"
    folder.mkdir()
    with github(folder, contract(Path(pytestconfig.cache.mkdir("github-openapi")))) as found:
        yield found


@pytest.fixture
def project(db: None) -> Project:
    """A project without a repository."""
    return Project.objects.create(name="Rocket", slug="rocket")


def person(email: str, project: Project | None = None, role: str = "member") -> User:
    """A user with the password `open sesame`, in a project."""
    user = User.objects.create_user(email, "open sesame", name=email.split("@")[0].title())
    if project:
        Membership.objects.create(project=project, user=user, role=role)
    return user


@pytest.fixture
def owner(project: Project) -> User:
    """Owner of the project."""
    return person("olga@example.com", project, "owner")


@pytest.fixture
def member(project: Project, owner: User) -> User:
    """Member of the project."""
    return person("mia@example.com", project)


@pytest.fixture
def stranger(db: None) -> User:
    """Signed in, in no project: must get 404."""
    return person("sam@example.com")


@pytest.fixture
def template(db: None) -> Template:
    """The stock script template."""
    return Template.objects.create(slug="script", name="Script", tool="script", image="script")


def signed_in(user: User) -> Client:
    """A browser of that person."""
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def member_client(member: User) -> Client:
    """The member's browser."""
    return signed_in(member)


@pytest.fixture
def stranger_client(stranger: User) -> Client:
    """The stranger's browser."""
    return signed_in(stranger)


@pytest.fixture
def work(db: None) -> Callable[[], int]:
    """Performs what is in the queue, in this process, until it is empty; the number of tasks."""

    def perform() -> int:
        done = 0
        while row := OrmQ.objects.order_by("id").first():
            package: dict[str, Any] = SignedPackage.loads(row.payload)
            row.delete()
            queue.perform(*package["args"])
            done += 1
        return done

    return perform


# What shares real processes stays together in one test process; what takes longest goes first.
TOGETHER = (
    "tests/agents",
    "tests/endtoend",
    "tests/browser",
    "tests/codecourier/test_up.py",
    "tests/host/envd",
    "tests/host",
)
# What mostly waits goes next, while the others need the processors.
WAITING = tuple(
    f"tests/sandboxes/test_{name}.py" for name in ("pulls", "checkpoints", "courier_faults", "courier", "relay")
)


def together(nodeid: str) -> str:
    """The tests that a test has to stay with: by the processes they share, else its file's."""
    return next((prefix for prefix in TOGETHER if nodeid.startswith(prefix)), nodeid.split("::")[0])


class ByProcesses(LoadScopeScheduling):
    """Hands out what belongs together as one."""

    def _split_scope(self, nodeid: str) -> str:
        return together(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByProcesses:
    """Asked for by pytest-xdist."""
    return ByProcesses(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long ones first, so that all processes of a run end at about the same time."""
    order = {scope: place for place, scope in enumerate((*TOGETHER, *WAITING))}
    items.sort(key=lambda item: order.get(together(item.nodeid), len(order)))


def pytest_collection_finish() -> None:
    """All that was imported stays: the collector need not look at it again and again."""
    gc.collect()
    gc.freeze()
