"""A real Chromium before the real web process, on the tests' database. The tests themselves play the worker."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from django.db import connection
from playwright.sync_api import Browser, Page, expect, sync_playwright

from codecourier import npm
from codecourier.models import User
from tests import embedded_postgres
from tests.conftest import signed_in
from tests.deadline import until
from tests.stack import ROOT, free_port, http_status

PATIENCE_MS = 30_000
expect.set_options(timeout=PATIENCE_MS)
# The first is the same engine without a window's own pages and processes, which cost as much again as the tests'.
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
# No graphics processor is there to draw with, and playing one costs more than drawing.
QUIET = [
    "--disable-background-networking", "--disable-component-update", "--disable-gpu", "--disable-software-rasterizer",
    "--disable-sync", "--no-first-run",
]  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what drives a browser."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("browser")


class Web:
    """The web process; it can be ended and started again."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Run it on this run's database, with the product's own settings."""
        database = embedded_postgres.url().replace("/codecourier?", f"/{connection.settings_dict['NAME']}?")
        env = os.environ | {
            "DATABASE_URL": database,
            "STATE": str(embedded_postgres.STATE),
            "DJANGO_SETTINGS_MODULE": "codecourier.settings",
            "CODECOURIER_PROCESS": "web",
        }
        argv = [sys.executable, "-m", "daphne", "-b", "127.0.0.1", "-p", str(self.port), "codecourier.asgi:application"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(argv, cwd=ROOT, env=env, stdout=log, stderr=log, start_new_session=True)
        until(self.answers, 60)

    def answers(self) -> bool:
        """Whether it serves pages."""
        assert self.process, "The web process was not started."
        assert self.process.poll() is None, self.log.read_text()
        try:
            return http_status(f"{self.url}/sign-in/") == 200
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        """As a crash ends it."""
        if self.process:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture(scope="package")
def chromium() -> str:
    """The system's browser; a skip that says so without one, but a failure where all must run."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found:
        return found
    reason = "No Chromium is installed (apt-get install chromium-headless-shell), so no test can drive a browser."
    if os.environ.get("CODECOURIER_CI"):
        pytest.fail(reason)
    pytest.skip(reason)


# Not the session-wide fixtures of pytest-playwright: its loop must have ended before asyncio tests run.
@pytest.fixture(scope="package")
def browser(chromium: str) -> Iterator[Browser]:
    """One browser for this folder."""
    sandboxed = [] if os.geteuid() else ["--no-sandbox"]
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        # Playwright's own loop makes Django think that these tests are asynchronous.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        launched = playwright.chromium.launch(executable_path=chromium, args=[*QUIET, *sandboxed])
        yield launched
        launched.close()


@pytest.fixture(scope="package")
def web_process(chromium: str, django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """The web process of this folder's tests."""
    npm.ensure(ROOT)
    web = Web(tmp_path_factory.mktemp("web") / "log")
    web.start()
    yield web
    web.kill()


@pytest.fixture
def web(web_process: Web, transactional_db: None) -> Web:
    """The web process, on empty tables."""
    return web_process


def open_as(browser: Browser, web: Web, user: User, **options: object) -> Page:
    """A new window of this person; whatever goes wrong in its scripts fails the test that ends it with `close`."""
    context = browser.new_context(base_url=web.url, **options)  # type: ignore[arg-type]
    session = signed_in(user).cookies["sessionid"].value
    context.add_cookies([{"name": "sessionid", "value": session, "url": web.url}])
    context.set_default_timeout(PATIENCE_MS)
    return context.new_page()


@pytest.fixture
def faults() -> list[str]:
    """What a page's scripts complained about."""
    return []


@pytest.fixture
def page(browser: Browser, web: Web, member: User, faults: list[str]) -> Iterator[Page]:
    """The member's window; a script's error or a refused resource fails the test."""
    page = open_as(browser, web, member)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    yield page
    page.context.close()
    assert faults == []
