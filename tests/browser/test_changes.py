"""The changes tab in a real browser: lines when they are looked at, two columns, and new work by itself."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from playwright.sync_api import Page, expect

from codecourier.models import Project
from sandboxes.checkpoints.store import Store, ref_of
from sandboxes.models import Checkpoint, Sandbox, Template
from tests import embedded_postgres
from tests.browser.conftest import Web
from tests.browser.test_axe import AXE, SERIOUS
from tests.sandboxes.pages import make as make_sandbox
from tests.sandboxes.repositories import commit, git, keep, make, write

Save = Callable[..., None]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    return make(tmp_path / "clone", a__py="def one():\n    return 1\n")


@pytest.fixture
def sandbox(web: Web, project: Project, template: Template, clone: Path) -> Sandbox:
    return make_sandbox(project, template, title="Fix it", start_commit=git(clone, "rev-parse", "HEAD"))


@pytest.fixture
def save(sandbox: Sandbox, clone: Path, monkeypatch: pytest.MonkeyPatch) -> Save:
    """Files written and saved, as a turn's end does it."""
    # The web process's own.
    monkeypatch.setattr(settings, "STATE", embedded_postgres.STATE)

    def take(**files: str) -> None:
        write(clone, **files)
        commit(clone, "Work")
        row = Checkpoint.objects.create(sandbox=sandbox, cause="turn", status=Checkpoint.Status.TAKING)
        row.move(Checkpoint.Status.STORED, commit=keep(Store.of(sandbox.project), clone, ref_of(sandbox.pk, row.pk)))
        sandbox.nudge()

    return take


QUICK = """() => document.getElementById("changes").addEventListener("htmx:afterSwap", ({ target }) => {
  const choose = () => {
    const from = target.querySelector("#changes-from");
    from.selectedIndex = 1;
    from.dispatchEvent(new Event("change", { bubbles: true }));
  };
  setTimeout(choose);
}, { once: true })"""


def test_lines_columns_and_new_work(page: Page, sandbox: Sandbox, save: Save):
    long = "".join(f"line {number}\n" for number in range(500))
    save(a__py="def one():\n    return 2\n", long__txt=long)
    page.goto(f"/p/rocket/sandboxes/{sandbox.pk}/?tab=changes")
    panel = page.locator("#changes")
    expect(panel.locator(".line-come").first).to_contain_text("return 2")
    # Folded, as it is long: its lines come when it is opened from the tree.
    expect(panel.get_by_text("line 250")).to_have_count(0)
    panel.locator(".changes-tree").get_by_text("long.txt").click()
    expect(panel.get_by_text("line 250", exact=True)).to_be_visible()
    panel.get_by_role("link", name="Split").click()
    expect(panel.locator(".lines-split").first).to_be_visible()
    # Whoever is quick chooses in what has only just come.
    page.evaluate(QUICK)
    save(b__py="new = True\n")
    expect(panel.locator(".changes-tree a")).to_have_count(1)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_a_diff(page: Page, sandbox: Sandbox, save: Save, theme: Any):
    save(a__py="# Comment\nimport os\n\n\ndef one(x):\n    return f'{x} 1' + str(None)\n")
    page.emulate_media(color_scheme=theme)
    page.add_init_script(path=AXE)
    page.goto(f"/p/rocket/sandboxes/{sandbox.pk}/changes/")
    expect(page.locator(".line-come").first).to_be_visible()
    told = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    assert [entry["nodes"][:3] for entry in told["violations"] if entry["impact"] in SERIOUS] == []
