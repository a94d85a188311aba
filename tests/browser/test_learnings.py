"""Lessons in a browser: the inbox by keys, the way to the moment that shows one, compiling; all of it seen by axe."""

import json
from typing import Literal

import pytest
from playwright.sync_api import Page, expect

from codecourier.models import Project, User
from learnings.models import LearningSettings, Lesson
from sandboxes.models import Template
from tests.browser.test_axe import ASKED, AXE, SERIOUS
from tests.learnings.shop import fill


@pytest.fixture
def first(project: Project, owner: User, template: Template) -> Lesson:
    """The gravest of three lessons that wait."""
    Template.objects.create(slug="claude", name="Claude Code", tool="claude", image="claude")
    return fill(project, owner)


@pytest.fixture
def seen(page: Page) -> Page:
    """The member's window, with axe in it."""
    page.add_init_script(path=AXE)
    page.emulate_media(reduced_motion="reduce")
    return page


def clean(page: Page, *themes: Literal["light", "dark"]) -> None:
    """What axe finds serious on the page as it is, or opened anew in each of two themes."""
    for theme in themes or ("",):
        if theme:
            # Colours that fade from one theme to the other are those of neither.
            page.emulate_media(color_scheme=theme)
            page.reload()
        told = page.evaluate(f"axe.run(document, {json.dumps(ASKED)})")
        bad = [entry for entry in told["violations"] if entry["impact"] in SERIOUS]
        assert not bad, json.dumps([(one["id"], [node["html"][:160] for node in one["nodes"]]) for one in bad])


def test_lessons_are_decided_by_keys_and_reach_a_version(seen: Page, first: Lesson, project: Project) -> None:
    page, moment = seen, first.evidence[1]
    page.goto(f"/p/{project.slug}/learnings/")
    clean(page, "dark", "light")
    expect(page.get_by_text("1 of 3")).to_be_visible()
    page.get_by_role("link", name="Result of a tool in").click()
    expect(page.locator(f"#event-{moment.job}-{moment.seq}")).to_be_in_viewport()
    page.go_back()
    page.keyboard.press("j")
    expect(page.get_by_text("2 of 3")).to_be_visible()
    page.keyboard.press("k")
    page.get_by_text("1 of 3").wait_for()
    page.keyboard.press("m")
    page.get_by_text("1 of 2").wait_for()
    page.keyboard.press("e")
    page.get_by_label("What to do").fill("Add a line under Unreleased.")
    page.get_by_role("button", name="Save and approve").click()
    page.get_by_text("1 of 1").wait_for()
    page.keyboard.press("a")
    page.get_by_text("Nothing waits").wait_for()
    page.get_by_role("link", name="Compile a version").click()
    expect(page.locator(".diff .added").first).to_be_visible()
    clean(page, "dark", "light")
    page.get_by_role("button", name="Compile and activate").click()
    page.get_by_text("Version 2 is compiled.").wait_for()
    clean(page)
    for path in ("library/?status=all", "sessions/", f"{first.pk}/", "new/", "versions/"):
        page.goto(f"/p/{project.slug}/learnings/{path}")
        clean(page)
    assert [one.status for one in Lesson.objects.filter(extraction=first.extraction).order_by("pk")] == [
        "merged", "approved", "approved",
    ]  # fmt: skip
    active = LearningSettings.of(project).active
    assert active is not None
    assert (active.number, "Add a line under Unreleased." in active.document("designer")) == (2, True)


def test_many_are_chosen_and_decided_at_once(page: Page, first: Lesson, project: Project) -> None:
    page.goto(f"/p/{project.slug}/learnings/library/?status=pending")
    page.get_by_label("Choose all on this page").check()
    expect(page.get_by_text("3 chosen")).to_be_visible()
    page.get_by_role("button", name="Merge into one").click()
    page.locator("#confirm").get_by_role("button", name="Go on").click()
    page.get_by_text("Merged into:").wait_for()
    assert Lesson.objects.pending().count() == 1
