"""The page of one run in a browser: it moves with the run, and never from under somebody who reads or writes."""

import re

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from codecourier.models import Project, User
from sandboxes.models import Job, Output, Template
from tests.browser.test_axe import AXE, SERIOUS
from tests.workflows import rows
from workflows.models import Run, StepRun


@pytest.fixture
def claude(transactional_db: None) -> Template:
    return Template.objects.create(slug="claude", name="Claude Code", tool="claude", image="claude")


@pytest.fixture
def run(project: Project, member: User) -> Run:
    return rows.make_run(project, member)


def opened(page: Page, run: Run, query: str = "") -> None:
    """Its page, live."""
    page.goto(f"/p/rocket/runs/{run.pk}/{query}")
    page.wait_for_selector("html[data-live=yes]")


def end(row: StepRun, run: Run, claude: Template, number: int) -> StepRun:
    """The step is over, and another one works."""
    row.move("succeeded", ended_at=timezone.now())
    following = rows.step(run, claude, number, took=None)
    following.nudge()
    return following


def faults_of(page: Page) -> list[str]:
    """What axe finds that matters."""
    told = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    bad = [entry for entry in told["violations"] if entry["impact"] in SERIOUS]
    return [f"{entry['id']}: {[node['html'][:160] for node in entry['nodes'][:3]]}" for entry in bad]


def test_it_moves_to_the_step_at_work_and_keeps_what_somebody_writes(
    page: Page, project: Project, claude: Template, template: Template
):
    last = rows.spec("optimizer", "script")
    run = rows.make_run(project, manifest=rows.manifest(rows.spec("designer"), rows.spec("checker", "codex"), last))
    first = rows.step(run, claude, took=None)
    opened(page, run)
    expect(page.locator(f"#talk-{first.turn_id}")).to_contain_text("I look at the shop first.")
    page.locator("#prompt").fill("Mind the tax")
    second = end(first, run, claude, 1)
    expect(page.locator(f"#card-{second.pk}")).to_have_class(re.compile("is-shown"))
    expect(page.locator(f"#talk-{second.turn_id}")).to_be_visible()
    expect(page.locator(f"#talk-{first.turn_id}")).to_have_count(0)
    expect(page.locator("#prompt")).to_have_value("Mind the tax")
    expect(page.locator("#prompt")).to_be_focused()
    # Whoever looks closer at a step stays there.
    page.get_by_role("link", name="What it was told").click()
    expect(page).to_have_url(re.compile(f"step_run={second.pk}"))
    third = end(second, run, template, 2)
    assert third.turn
    assert third.turn.job
    Output.objects.create(job=third.turn.job, seq=1, t_ms=1, stream=1, data=b"3 tests passed\n")
    Job.objects.filter(pk=third.turn.job.pk).update(seq=1, lines=1, bytes=15)
    expect(page.locator(f"#card-{third.pk}")).to_be_visible()
    expect(page.locator(f"#card-{second.pk}")).to_have_class(re.compile("is-shown"))
    expect(page.locator("#told")).to_be_visible()
    page.get_by_role("link", name="Follow").click()
    expect(page.locator(f"#card-{third.pk}")).to_have_class(re.compile("is-shown"))
    # A script has no conversation: what it prints is shown instead.
    expect(page.locator("#source .xterm-rows")).to_contain_text("3 tests passed")
    expect(page.locator("#conversation")).to_be_hidden()
    with page.expect_response("**/say/"):
        page.locator("#prompt").fill("And the docs")
        page.keyboard.press("Control+Enter")
    expect(page.locator("#prompt")).to_have_value("")
    assert third.sandbox
    assert third.sandbox.turns.latest("pk").prompt == "And the docs"


def test_axe_finds_nothing_serious_on_it(page: Page, run: Run, claude: Template, project: Project):
    page.add_init_script(path=AXE)
    page.emulate_media(reduced_motion="reduce")
    rows.step(run, claude)
    checked = rows.step(run, claude, 1, answer=rows.verdict(False, rows.finding()))
    rows.step(run, claude, iteration=2, took=None)
    opened(page, run, f"?step_run={checked.pk}")
    assert faults_of(page) == []
    drawn = rows.manifest(rows.several(2))
    over = rows.make_run(project, status="completed", manifest=drawn, score=82, detail="All steps are done.")
    for number in (1, 2):
        rows.step(over, claude, candidate=number)
        rows.step(over, claude, candidate=number, kind="test", status="failed")
    rows.step(over, claude, kind="judge", answer=rows.choice("A"))
    rows.step(over, claude, 1, kind="evaluator", answer=rows.score())
    page.emulate_media(color_scheme="dark")
    opened(page, over)
    assert faults_of(page) == []
