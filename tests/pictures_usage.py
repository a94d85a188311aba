"""`uv run python -m tests.pictures_usage`: the usage pages as a manager sees them, into docs/screenshots.

Two years of many projects, as `tests.bench.usage` makes them; Chromium takes each page wide and narrow, light and dark.
"""

from pathlib import Path

from playwright.sync_api import Page, sync_playwright

# Sets up Django for a database of its own.
from tests.bench import usage as bench
from tests.pictures import FOLDER, SIZES, THEMES, window
from tests.stack import Stack, own_database

from codecourier.models import Project, User  # isort: skip
from usage import holding  # isort: skip
from usage.models import Budget  # isort: skip

ROWS = 120_000
NAMES = ("Corner shop", "Rocket", "Comet", "Ledger", "Harbour", "Orchard", "Lighthouse", "Quarry")
PAGES = {"report": "/usage/?span=90", "report-project": "/p/project-1/usage/?span=365&split=persona",
         "budgets": "/usage/budgets/", "entries": "/p/project-1/usage/rows/?span=30"}  # fmt: skip


def furnish() -> User:
    """Rows, names that can be told apart, and budgets that are nearly used up."""
    user = bench.people()
    for number, name in enumerate(NAMES, 1):
        Project.objects.filter(pk=number).update(name=name)
    bench.fill(ROWS)
    Budget.objects.create(scope="organisation", amount=40, set_by=user)
    Budget.objects.create(scope="project", project_id=1, amount=2, set_by=user)
    Budget.objects.create(scope="run", project_id=1, amount=1, set_by=user)
    Budget.objects.create(scope="person", person_id=3, amount=5, set_by=user)
    holding.watch()
    return user


def take(page: Page, name: str, address: str) -> None:
    """One picture, once all of it is there."""
    page.goto(address)
    page.wait_for_load_state("networkidle")
    page.screenshot(path=FOLDER / f"{name}.png", full_page=name.startswith("report"))


def main() -> None:
    """All of them."""
    state = Path(bench.HOME.name)
    with own_database(state) as url:
        user = furnish()
        stack = Stack(state, url, DJANGO_SETTINGS_MODULE="codecourier.settings", STATE=str(state))
        try:
            stack.start("web")
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
                for size in SIZES:
                    for theme in THEMES:
                        page = window(browser, stack.url, user, size, theme)
                        for name, address in PAGES.items():
                            take(page, f"{name}{size}{theme}", address)
                        page.context.close()
                browser.close()
        finally:
            stack.stop()


if __name__ == "__main__":
    main()
