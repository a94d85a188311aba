"""A report in a real browser: charts beside their tables, days of the browser's zone, and nothing that axe minds."""

import json
from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, expect

from codecourier.models import Project, User
from sandboxes.models import Template
from tests.browser.conftest import Web, open_as
from tests.browser.test_axe import ASKED, AXE, SERIOUS
from tests.sandboxes.pages import make
from tests.usage.rows import budget, entry
from usage import rollups
from usage.models import Entry

PAINTED = """name => {
    const canvas = document.getElementById(name);
    return canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.some((value) => value > 0);
}"""
PAGES = ("", "worth/", "rows/?span=30", "budgets/")


@pytest.fixture
def used(project: Project, owner: User, template: Template) -> None:
    """A month of use, a model without a price, a budget, and a machine that runs."""
    now = timezone.now()
    rows = [
        entry(project, key=f"r{n}", at=now - timedelta(days=n), model=f"model-{n % 3}", run_id=n % 4 + 1, iteration=1,
              person=owner, person_name="Olga", price=None if n == 5 else Decimal("0.001"))
        for n in range(20)
    ]  # fmt: skip
    rollups.add(Entry.objects.bulk_create(rows))
    budget(project, "20")
    make(project, template, provider="local")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_report_is_drawn_narrowed_down_and_clean(
    browser: Browser, web: Web, owner: User, project: Project, used: None, theme: str
) -> None:
    page = open_as(browser, web, owner, color_scheme=theme, reduced_motion="reduce", timezone_id="Asia/Tokyo")
    page.add_init_script(path=AXE)
    page.goto(f"/p/{project.slug}/")
    page.keyboard.press("g")
    page.keyboard.press("u")
    expect(page.get_by_text("days in Asia/Tokyo")).to_be_visible()
    page.goto(f"/p/{project.slug}/usage/?span=30")
    for name in ("trend", "split"):
        page.wait_for_function(PAINTED, arg=name)
    expect(page.locator("#usage-total")).to_contain_text("$19.00")
    expect(page.locator("#split-table tbody tr")).to_have_count(3)
    page.get_by_role("link", name="model-1").click()
    expect(page.locator("#usage-total")).to_contain_text("$7.00")
    page.get_by_role("link", name="Model: model-1").click()
    expect(page.locator("#usage-total")).to_contain_text("$19.00")
    expect(page.get_by_role("heading", name="Dearest runs")).to_be_visible()
    found = list[str]()
    for path in PAGES if theme == "light" else PAGES[:1]:
        page.goto(f"/p/{project.slug}/usage/{path}")
        told = page.evaluate(f"axe.run(document, {json.dumps(ASKED)})")
        found += [f"{path}: {entry}" for entry in told["violations"] if entry["impact"] in SERIOUS]
    page.context.close()
    assert not found, found
