"""The output in a real browser: live, complete after every loss, and never acting on the page."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from codecourier import live
from codecourier.models import Project, User
from sandboxes.models import Job, Output, Sandbox, Template
from tests.browser.conftest import Web
from tests.sandboxes.pages import make


@pytest.fixture
def job(web: Web, project: Project, template: Template, member: User) -> Job:
    sandbox = make(project, template, title="Print", created_by=member)
    return Job.objects.create(sandbox=sandbox, kind=Job.Kind.TURN, status=Job.Status.RUNNING)


def printed(job: Job, *texts: bytes, skip: int = 0) -> None:
    """More rows, with the nudge of a flush; `skip` leaves out so many numbers before them."""
    job.seq += skip
    Output.objects.bulk_create(
        Output(job=job, seq=job.seq + n, t_ms=n, stream=1, data=text) for n, text in enumerate(texts, 1)
    )
    job.seq += len(texts)
    Job.objects.filter(pk=job.pk).update(seq=job.seq)
    live.nudge(f"job:{job.pk}")


def terminal(page: Page, job: Job) -> Locator:
    """The page's terminal, on the page of the job's sandbox."""
    page.goto(f"/p/rocket/sandboxes/{job.sandbox_id}/")
    expect(page.locator("html")).to_have_attribute("data-live", "yes")
    return page.locator(".xterm-rows")


def test_lines_appear_as_they_are_stored_and_are_there_after_a_reload(page: Page, job: Job):
    printed(job, b"first line\n")
    rows = terminal(page, job)
    expect(rows).to_contain_text("first line")
    printed(job, b"\x1b[31msecond\x1b[0m line\n")
    expect(rows).to_contain_text("second line")
    page.reload()
    expect(rows).to_contain_text(re.compile("first line.*second line", re.DOTALL))


def test_two_windows_show_the_same(page: Page, job: Job):
    rows = terminal(page, job)
    other = page.context.new_page()
    others = terminal(other, job)
    printed(job, b"for both\n")
    expect(rows).to_contain_text("for both")
    expect(others).to_contain_text("for both")


def test_a_lost_connection_is_said_and_nothing_is_lost_or_doubled(page: Page, web: Web, job: Job, faults: list[str]):
    printed(job, b"before\n")
    rows = terminal(page, job)
    expect(rows).to_contain_text("before")
    web.kill()
    expect(page.locator(".output-bar")).to_contain_text("Connection lost")
    expect(rows).to_contain_text("before")
    printed(job, b"meanwhile\n")
    web.start()
    expect(rows).to_contain_text("meanwhile")
    expect(page.locator(".output-bar")).to_be_hidden()
    expect(rows).not_to_contain_text(re.compile("before.*before", re.DOTALL))
    expect(rows).not_to_contain_text("missing")
    faults.clear()


def test_a_gap_is_shown(page: Page, job: Job):
    printed(job, b"one\n")
    rows = terminal(page, job)
    expect(rows).to_contain_text("one")
    printed(job, b"five\n", skip=3)
    expect(rows).to_contain_text("3 records missing")
    expect(rows).to_contain_text("five")


def test_what_is_printed_does_not_act_on_the_page(page: Page, job: Job, faults: list[str]):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    rows = terminal(page, job)
    page.evaluate("navigator.clipboard.writeText('mine')")
    title = page.title()
    printed(
        job,
        b"\x1b]0;owned\x07\x1b]2;owned\x07\x1b]52;c;b3duZWQ=\x07",
        b"\x1b[?1049h\x1b[?1000h\x1b[?1006h\x1b[8;2;2t",
        b"<img src=x onerror=alert(1)> javascript:alert(1) still here\n",
    )
    expect(rows).to_contain_text("still here")
    expect(rows).to_contain_text("<img src=x")
    assert page.title() == title
    assert page.evaluate("navigator.clipboard.readText()") == "mine"
    expect(page.locator(".xterm.enable-mouse-events")).to_have_count(0)
    assert page.locator("img[src=x]").count() == 0


def test_the_newest_job_takes_over(page: Page, job: Job):
    printed(job, b"of the first\n")
    rows = terminal(page, job)
    expect(rows).to_contain_text("of the first")
    second = Job.objects.create(sandbox=job.sandbox, kind=Job.Kind.TURN, status=Job.Status.RUNNING)
    printed(second, b"of the second\n")
    Sandbox.objects.get(pk=job.sandbox_id).nudge()
    expect(rows).to_contain_text("of the second")
    expect(rows).not_to_contain_text("of the first")


def test_a_long_output_begins_with_its_last_stretch_and_can_be_scrolled(page: Page, job: Job):
    line = b"x" * 99 + b"\n"
    printed(job, *[b"%07d " % n + line * 600 for n in range(40)])
    rows = terminal(page, job)
    expect(rows).to_contain_text("x" * 50)
    printed(job, b"the very end\n")
    expect(rows).to_contain_text("the very end")
    newest = page.get_by_role("button", name="Jump to newest")
    expect(newest).to_be_hidden()
    page.locator("[data-output]").hover()
    page.mouse.wheel(0, -4000)
    expect(newest).to_be_visible()
    newest.click()
    expect(rows).to_contain_text("the very end")
    expect(newest).to_be_hidden()
