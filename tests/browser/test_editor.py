"""The editor of assets in a real browser: what is typed is kept by itself, and nobody's text is lost."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from codecourier.models import Project, User
from personas.models import Asset
from tests.browser.conftest import Web, open_as
from tests.deadline import until


@pytest.fixture
def asset(web: Web, project: Project) -> Asset:
    return Asset.objects.create(project=project, kind="context", name="domain")


def stored(asset: Asset) -> str:
    asset.refresh_from_db()
    return asset.text


def test_what_is_typed_is_saved_and_looked_at(page: Page, asset: Asset):
    page.goto(f"/p/rocket/assets/{asset.pk}/")
    page.get_by_label("context.md").press_sequentially("# Words\n\nAn *order* ships once.")
    expect(page.locator("#saved")).to_contain_text("unpublished changes")
    until(lambda: stored(asset) == "# Words\n\nAn *order* ships once.", 10)
    page.get_by_role("button", name="Preview").click()
    expect(page.locator("#preview").get_by_role("heading", name="Words")).to_be_visible()
    expect(page.locator("#preview em")).to_have_text("order")
    page.reload()
    expect(page.get_by_label("context.md")).to_have_value("# Words\n\nAn *order* ships once.")


def test_a_folder_is_uploaded_with_its_folders(page: Page, asset: Asset, tmp_path: Path):
    skill = tmp_path / "tables"
    (skill / "scripts").mkdir(parents=True)
    (skill / "SKILL.md").write_text("---\nname: tables\ndescription: Draws tables.\n---\n")
    (skill / "scripts/draw.py").write_text("print()")
    page.goto("/p/rocket/assets/")
    page.get_by_label("Folder").set_input_files(skill)
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_text("tables is uploaded as a draft")).to_be_visible()
    assert set(Asset.objects.get(name="tables").files) == {"SKILL.md", "scripts/draw.py"}


def test_two_people_write_one_draft_and_neither_loses_a_text(
    page: Page, browser: Browser, web: Web, owner: User, asset: Asset, faults: list[str]
):
    other = open_as(browser, web, owner)
    for window in (page, other):
        window.goto(f"/p/rocket/assets/{asset.pk}/")
    other.get_by_label("context.md").fill("The owner's words")
    expect(other.locator("#saved")).to_contain_text("unpublished changes")
    mine = page.get_by_label("context.md")
    mine.fill("The member's words")
    expect(page.locator("#saved")).to_contain_text("saved this draft meanwhile")
    page.get_by_text("Theirs", exact=True).click()
    expect(page.locator("#saved")).to_contain_text("The owner's words")
    expect(mine).to_have_value("The member's words")
    # Typing on does not wipe out the other's text; a person does, with both before their eyes.
    with page.expect_response(lambda answer: answer.status == 409):
        mine.fill("The owner's words, the member's words")
    assert stored(asset) == "The owner's words"
    page.get_by_role("button", name="Save mine over it").click()
    expect(page.locator("#saved")).to_contain_text("unpublished changes")
    assert stored(asset) == "The owner's words, the member's words"
    with other.expect_response(lambda answer: answer.status == 409):
        other.get_by_label("context.md").fill("The owner knows better")
    assert stored(asset) == "The owner's words, the member's words"
    other.context.close()
    faults[:] = [fault for fault in faults if "409" not in fault]
