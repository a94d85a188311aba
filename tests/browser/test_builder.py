"""The builder of workflows in a real browser: steps are dragged, and what is typed stays meanwhile."""

from playwright.sync_api import Locator, Page, expect

from codecourier.models import Project
from tests.browser.conftest import Web
from tests.workflows.pages import persona
from workflows.models import Workflow


def drag(page: Page, what: Locator, to: Locator) -> None:
    """By its handle, to the middle of another, as a hand does it."""
    grip = what.locator(".grip").first
    grip.scroll_into_view_if_needed()
    start, end = grip.bounding_box(), to.bounding_box()
    assert start
    assert end
    page.mouse.move(start["x"] + 5, start["y"] + 5)
    page.mouse.down()
    page.mouse.move(start["x"] + 15, start["y"] + 15, steps=4)
    page.mouse.move(end["x"] + end["width"] / 2, end["y"] + end["height"] / 2, steps=12)
    with page.expect_response(lambda answer: answer.request.method == "POST"):
        page.mouse.up()


def test_steps_are_added_dragged_into_a_block_and_saved(page: Page, web: Web, project: Project):
    for role in ("designer", "checker", "optimizer"):
        persona(project, role)
    page.goto("/p/rocket/workflows/new/")
    page.get_by_label("Name", exact=True).last.fill("Three")
    steps = page.locator("#steps .step")
    expect(steps).to_have_count(1)
    page.get_by_role("button", name="Add step").last.click()
    expect(steps).to_have_count(2)
    expect(steps.nth(1).get_by_label("Persona")).to_have_value(str(persona(project, "checker").pk))
    page.get_by_role("button", name="Put in a block that repeats").nth(1).click()
    frame = page.locator("#steps .frame")
    expect(frame.locator(".step")).to_have_count(1)
    steps.nth(0).get_by_text("Instructions, model, machine").click()
    steps.nth(0).get_by_label("Name").fill("Write it")
    steps.nth(0).get_by_text("Instructions, model, machine").click()
    drag(page, steps.nth(0), frame.locator("ol"))
    expect(frame.locator(".step")).to_have_count(2)
    expect(page.locator("#steps > .build > .step")).to_have_count(0)
    frame.get_by_role("spinbutton").first.fill("5")
    page.get_by_role("button", name="Add step").last.click()
    expect(page.locator("#steps > .build > .step")).to_have_count(1)
    expect(frame.get_by_role("spinbutton").first).to_have_value("5")
    page.get_by_role("button", name="Save workflow").click()
    expect(page.get_by_text("Three is saved.")).to_be_visible()
    made = Workflow.objects.get()
    told = [(step.persona.role, step.block.loop_max_iterations if step.block else 0) for step in made.steps.all()]
    assert set(told[:2]) == {("designer", 5), ("checker", 5)}
    assert told[2:] == [("optimizer", 0)]
    assert [step.name for step in made.steps.all() if step.persona.role == "designer"] == ["Write it"]
