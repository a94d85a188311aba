"""The board in a real browser: cards dragged, moved by keys, brought up to date; axe finds nothing."""

import itertools
import json

import pytest
from playwright.sync_api import Page, expect

from codecourier.models import Project, User
from issues import cards
from issues.models import Issue
from tests.browser.conftest import Web
from tests.browser.test_axe import AXE, SERIOUS
from tests.browser.test_portal import visit
from tests.deadline import until

BOARD = "/p/rocket/issues/"


@pytest.fixture
def issues(web: Web, project: Project, member: User) -> list[Issue]:
    """Three new cards."""
    names = ("one", "two", "three")
    return [cards.create(project, member, title=f"Card {name}", files=[f"{name}.py"]) for name in names]


def shown(page: Page, column: str, *expected: str) -> None:
    """Wait until a column has these cards in this order."""
    expect(page.locator(f"#cards-{column} .issue-title")).to_have_text(list(expected))


def drag(page: Page, issue: Issue, onto: str, there: str) -> None:
    """By the mouse, onto the upper half of another element; let go once the card shows that it would be `there`."""
    start, end = page.locator(f"#issue-{issue.pk} .issue-foot").bounding_box(), page.locator(onto).bounding_box()
    assert start
    assert end
    page.mouse.move(start["x"] + 8, start["y"] + 8)
    page.mouse.down()
    page.mouse.move(end["x"] + 40, end["y"] + 40, steps=6)
    steps = itertools.cycle((12, 14))

    def arrived() -> bool:
        page.mouse.move(end["x"] + 40, end["y"] + next(steps), steps=3)
        return page.locator(there.format(issue=f"#issue-{issue.pk}")).count() == 1

    until(arrived, 30, f"{issue} over {onto}")
    page.mouse.up()


def test_cards_are_dragged_moved_by_keys_and_come_by_themselves(
    page: Page, issues: list[Issue], project: Project, faults: list[str]
):
    one, two, three = issues
    page.add_init_script(path=AXE)
    visit(page, BOARD)
    shown(page, "new", "Card one", "Card two", "Card three")
    # Within a column: the server has the new order, and so has the page when it is opened again.
    drag(page, three, f"#issue-{one.pk}", "#cards-new > {issue}:first-child")
    expect(page.locator("#cards-new .issue-title").first).to_have_text("Card three")
    page.locator(f"#issue-{three.pk}").focus()
    page.keyboard.press("Alt+ArrowDown")
    shown(page, "new", "Card one", "Card three", "Card two")
    expect(page.locator(f"#issue-{three.pk}")).to_be_focused()
    assert list(Issue.objects.order_by("rank")) == [one, three, two]
    # To another column, by mouse and by key.
    drag(page, two, "#cards-completed", "#cards-completed > {issue}")
    shown(page, "completed", "Card two")
    page.locator(f"#issue-{three.pk}").focus()
    page.keyboard.press("Alt+ArrowLeft")
    drag(page, one, "#cards-failed", "#cards-failed > {issue}")
    expect(page.locator("#messages")).to_contain_text("Only a run can fail a card.")
    assert "422" in faults.pop()  # the browser's own word for a refusal
    shown(page, "new", "Card one", "Card three")
    assert Issue.objects.get(pk=two.pk).status == "completed"
    # What others do is seen at once.
    cards.create(project, None, title="Card four")
    shown(page, "new", "Card one", "Card three", "Card four")
    page.locator(f"#issue-{one.pk}").get_by_role("checkbox").check()
    expect(page.locator(".bulk-count")).to_have_text("1 chosen")
    told = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    bad = [entry for entry in told["violations"] if entry["impact"] in SERIOUS]
    assert not bad, json.dumps([[entry["id"], [node["html"][:200] for node in entry["nodes"][:3]]] for entry in bad])
    # A run needs more than a place: the card's page asks for it.
    drag(page, one, "#cards-running", "#cards-running > {issue}")
    page.wait_for_url(f"**/issues/{one.pk}/#run")
