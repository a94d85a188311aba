"""The portal in a real browser: what is live, what keys do, what survives."""

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from playwright.sync_api import Browser, Page, Route, expect

from codecourier.models import Notification, Project, User
from sandboxes import fleet, turns
from sandboxes.models import Sandbox, Template
from tests.browser.conftest import Web, open_as
from tests.sandboxes.pages import make, make_many

LIST = "/p/rocket/sandboxes/"


@pytest.fixture
def sandbox(web: Web, project: Project, template: Template, member: User) -> Sandbox:
    return make(project, template, title="Run the tests", created_by=member)


def live(page: Page) -> None:
    """Wait until the page's socket has brought its first state."""
    expect(page.locator("html")).to_have_attribute("data-live", "yes")


def visit(page: Page, path: str) -> None:
    page.goto(path)
    live(page)


def test_a_person_signs_in_makes_a_sandbox_and_sees_what_it_does(page: Page, sandbox: Sandbox, member: User):
    # The product's own way to keep a password; the tests' is a cheaper one.
    hashed = PBKDF2PasswordHasher().encode("open sesame", "salt", iterations=1)
    User.objects.filter(pk=member.pk).update(password=hashed)
    page.context.clear_cookies()
    page.goto("/p/rocket/sandboxes/new/")
    page.get_by_label("Email").fill(member.email)
    page.get_by_label("Password").fill("open sesame")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_label("Prompt").fill("echo hello")
    page.get_by_label("Memory (MB)").fill("4096")
    expect(page.locator("#summary")).to_contain_text("2 CPU, 4096 MB")
    expect(page.locator("#summary")).to_contain_text("Free, on this machine")
    page.get_by_label("Prompt").press("Control+Enter")
    expect(page.get_by_role("heading", name="echo hello")).to_be_visible()
    expect(page.locator("#heading")).to_contain_text("Creating")
    live(page)
    made = Sandbox.objects.get(title="echo hello")
    made.phases.get(name="create").start()
    expect(page.locator("#notice")).to_contain_text("Create machine: ")


def test_a_row_moves_without_losing_the_selection(page: Page, sandbox: Sandbox, project: Project, template: Template):
    visit(page, LIST)
    row = page.locator(f"#sandbox-{sandbox.pk}")
    row.get_by_role("checkbox").check()
    expect(page.locator(".bulk-count")).to_have_text("1 chosen")
    sandbox.enter("paused", reason="user")
    expect(row).to_contain_text("Paused")
    other = fleet.launch(project, None, template=template, prompt="echo second")
    expect(page.locator(f"#sandbox-{other.pk}")).to_contain_text("Creating")
    expect(page.locator("#count")).to_have_text("2")
    expect(page.locator("#running")).to_contain_text("1 running")
    expect(row.get_by_role("checkbox")).to_be_checked()
    expect(page.locator(".bulk-count")).to_have_text("1 chosen")


def test_what_one_person_does_shows_in_the_other_ones_window(
    page: Page, browser: Browser, web: Web, sandbox: Sandbox, owner: User
):
    other = open_as(browser, web, owner)
    path = f"{LIST}{sandbox.pk}/"
    visit(page, path)
    visit(other, path)
    page.get_by_label("Message to the agent").fill("echo from Mia")
    page.get_by_label("Message to the agent").press("Control+Enter")
    expect(other.locator("#queue")).to_contain_text("echo from Mia")
    expect(page.locator("#queue")).to_contain_text("echo from Mia")
    expect(page.get_by_label("Message to the agent")).to_have_value("")
    other.get_by_role("button", name="Stop").click()
    other.get_by_role("button", name="Go on").click()
    expect(page.locator("#notice")).to_contain_text("Stopping: saving work")
    expect(page.get_by_role("button", name="Stop now, without saving")).to_be_visible()
    other.context.close()


def test_what_is_being_written_survives_changes(page: Page, sandbox: Sandbox, member: User):
    waiting = turns.send(sandbox, member, "echo one")
    visit(page, f"{LIST}{sandbox.pk}/")
    page.get_by_label("Message to the agent").fill("half a mess")
    page.locator(f"#queued-{waiting.pk} summary").click()
    page.get_by_label("Message", exact=True).fill("echo edited, not sav")
    page.get_by_label("Message", exact=True).blur()
    turns.send(sandbox, member, "echo another")
    fleet.retitle(sandbox, "Another title")
    expect(page.get_by_role("heading", name="Another title")).to_be_visible()
    expect(page.locator("#queue")).to_contain_text("echo another")
    expect(page.get_by_label("Message to the agent")).to_have_value("half a mess")
    edited = page.locator(f"#queued-{waiting.pk} textarea")
    expect(edited).to_be_visible()
    expect(edited).to_have_value("echo edited, not sav")


def test_a_title_that_is_being_written_survives_and_is_saved(page: Page, sandbox: Sandbox):
    visit(page, f"{LIST}{sandbox.pk}/")
    page.get_by_label("Change the title").click()
    field = page.get_by_label("Title", exact=True)
    field.fill("Nightly te")
    field.blur()
    sandbox.enter("paused", reason="user")
    expect(page.locator("#heading")).to_contain_text("Paused")
    expect(field).to_have_value("Nightly te")
    field.fill("Nightly tests")
    field.press("Enter")
    expect(page.get_by_role("heading", name="Nightly tests")).to_be_visible()
    expect(field).to_be_hidden()


def test_a_refusal_keeps_what_was_written(page: Page, sandbox: Sandbox, faults: list[str]):
    visit(page, f"{LIST}{sandbox.pk}/")
    page.get_by_label("Message to the agent").fill("echo too late")
    page.get_by_label("Message to the agent").focus()
    sandbox.enter("killed", reason="timeout")
    expect(page.locator("#heading")).to_contain_text("Killed")
    page.get_by_label("Message to the agent").press("Control+Enter")
    expect(page.get_by_role("alert")).to_contain_text("This sandbox is over, so the message was not sent.")
    expect(page.locator("#prompt")).to_have_value("echo too late")
    # Chromium reports every status of 400 and more as an error.
    assert all("422" in fault for fault in faults)
    faults.clear()


def test_a_lost_connection_is_shown_and_made_good(page: Page, web: Web, sandbox: Sandbox, faults: list[str]):
    visit(page, f"{LIST}{sandbox.pk}/")
    web.kill()
    expect(page.locator("#connection")).to_be_visible()
    expect(page.get_by_role("heading", name="Run the tests")).to_be_visible()
    sandbox.enter("paused", reason="idle")
    web.start()
    expect(page.locator("#heading")).to_contain_text("Paused")
    expect(page.locator("#connection")).to_be_hidden()
    # Every attempt that found nobody is an error in the browser's console.
    faults.clear()


def test_the_bell_rings_on_every_page(page: Page, sandbox: Sandbox, member: User):
    visit(page, "/projects/")
    Notification.tell(member, "one", "Something needs you.")
    expect(page.locator("#bell")).to_contain_text("1")
    page.locator("#bell").click()
    page.get_by_role("button", name="Mark all as read").click()
    expect(page.locator(".bell-count")).to_have_count(0)


def test_signing_out_in_one_window_ends_the_other(page: Page, sandbox: Sandbox):
    visit(page, LIST)
    other = page.context.new_page()
    visit(other, "/projects/")
    other.get_by_label("Account of Mia").click()
    other.locator(".top").get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_keys_go_search_create_and_help(page: Page, sandbox: Sandbox):
    visit(page, "/p/rocket/")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Keyboard shortcuts")
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("s")
    expect(page.get_by_role("heading", name="Sandboxes")).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("run the c")
    page.keyboard.press("Enter")
    expect(page.locator(f"#sandbox-{sandbox.pk}")).to_have_count(0)
    expect(page.get_by_text("No sandbox matches")).to_be_visible()
    page.keyboard.press("c")
    expect(page.get_by_role("heading", name="New sandbox")).to_be_visible()


def test_the_theme_changes_at_once_and_stays(page: Page, sandbox: Sandbox):
    page.emulate_media(color_scheme="dark")
    visit(page, "/projects/")
    html = page.locator("html")
    expect(html).to_have_attribute("data-bs-theme", "dark")
    page.get_by_label("Account of Mia").click()
    page.locator(".top").get_by_role("button", name="Light theme").click()
    expect(html).to_have_attribute("data-bs-theme", "light")
    page.reload()
    expect(html).to_have_attribute("data-bs-theme", "light")


@pytest.mark.parametrize("width", [390, 2560])
def test_no_page_is_wider_than_the_window(
    width: int, page: Page, sandbox: Sandbox, project: Project, template: Template
):
    long = "unbroken" * 25
    page.set_viewport_size({"width": width, "height": 844})
    failed = make(
        project, template, "error", title=long, detail=long, branch=long, repository_url=f"https://x.example/{long}"
    )
    paths = ["/projects/", "/p/rocket/", LIST, f"{LIST}new/", f"{LIST}{failed.pk}/", f"{LIST}{failed.pk}/?tab=timeline"]
    for path in paths:
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0, path


def test_tabs_are_addresses(page: Page, sandbox: Sandbox):
    visit(page, f"{LIST}{sandbox.pk}/")
    page.get_by_role("link", name="Timeline").first.click()
    expect(page.locator("#timeline")).to_be_visible()
    assert page.url.endswith("?tab=timeline")
    page.reload()
    expect(page.locator("#timeline")).to_be_visible()


def test_a_form_works_without_scripts(browser: Browser, web: Web, member: User, sandbox: Sandbox):
    plain = open_as(browser, web, member, java_script_enabled=False)
    plain.goto(f"{LIST}{sandbox.pk}/")
    plain.get_by_label("Message to the agent").fill("echo plain")
    plain.get_by_role("button", name="Send").click()
    expect(plain.locator("#queue")).to_contain_text("echo plain")
    plain.get_by_role("button", name="Stop").click()
    expect(plain.locator("#notice")).to_contain_text("Stopping: saving work")
    plain.context.close()


def test_a_list_of_a_thousand_still_opens(page: Page, sandbox: Sandbox, project: Project, template: Template):
    make_many(project, template, 1_000)
    visit(page, LIST)
    expect(page.locator("#rows tbody tr")).to_have_count(50)
    page.get_by_role("link", name="Next").click()
    expect(page.get_by_text("51 to 100 of 1001")).to_be_visible()


def test_what_is_typed_before_the_scripts_run_is_summed_up_too(page: Page, sandbox: Sandbox):
    held: list[Route] = []
    page.route("**/htmx*.js", lambda route: held.append(route))
    with page.expect_request("**/htmx*.js"):
        page.goto("/p/rocket/sandboxes/new/", wait_until="commit")
    page.get_by_label("Memory (MB)").fill("4096")
    expect(page.locator("#summary")).not_to_contain_text("4096")
    for route in held:
        route.continue_()
    expect(page.locator("#summary")).to_contain_text("2 CPU, 4096 MB")
