"""Terminal, files and previews in a real browser, at a real machine of the local host."""

import json
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from codecourier import npm
from codecourier.models import Project, User
from sandboxes import e2b
from sandboxes.models import Sandbox, Template
from tests import local_host
from tests.browser.conftest import Web
from tests.deadline import until
from tests.sandboxes import preview_server
from tests.sandboxes.pages import make
from tests.stack import ROOT

PROJECT = f"{e2b.HOME}/project"
PORT = 8123


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[e2b.Provider]:
    """A host of this module's own."""
    with local_host.serving(tmp_path_factory.mktemp("host")) as host:
        yield e2b.Provider(e2b.LOCAL, host.api_key, host.api_url, host.sandbox_url)


@pytest.fixture(scope="module")
def machine(provider: e2b.Provider) -> Iterator[e2b.Machine]:
    """A machine of that host."""
    made = e2b.create(provider, template="script-1c-512m", metadata={}, envs={}, key=secrets.token_hex(8))
    yield made
    e2b.kill(provider, made.id)


@pytest.fixture(scope="module")
def web_process(
    chromium: str, django_db_setup: None, provider: e2b.Provider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Web]:
    """A web process that reaches that host as it would reach any E2B-compatible service."""
    npm.ensure(ROOT)
    web = Web(tmp_path_factory.mktemp("web") / "log")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CODECOURIER_E2B_API_KEY", provider.api_key)
        patch.setenv("CODECOURIER_E2B_BASE_URL", provider.api_url)
        patch.setenv("CODECOURIER_E2B_SANDBOX_URL", provider.sandbox_url)
        web.start()
    yield web
    web.kill()


@pytest.fixture
def sandbox(web: Web, machine: e2b.Machine, project: Project, template: Template, member: User) -> Sandbox:
    machine.run(f"rm -rf {PROJECT}; mkdir {PROJECT}", "begin anew")
    fields: dict[str, Any] = {"provider": "e2b", "provider_id": machine.id, "created_by": member}
    return make(project, template, title="Work here", **fields)


def visit(page: Page, sandbox: Sandbox, tab: str) -> None:
    page.goto(f"/p/rocket/sandboxes/{sandbox.pk}/?tab={tab}")
    expect(page.locator("html")).to_have_attribute("data-live", "yes")


def terminal(page: Page, sandbox: Sandbox) -> Locator:
    """The rows of the chosen terminal, once its shell has said something."""
    visit(page, sandbox, "terminal")
    rows = page.locator("#terminals > .terminal:not([hidden]) .xterm-rows")
    expect(rows).to_contain_text("$")
    return rows


def typed(page: Page, text: str) -> None:
    page.locator("#terminals > .terminal:not([hidden]) textarea").focus()
    page.keyboard.type(text)
    page.keyboard.press("Enter")


def test_a_shell_is_found_again_after_a_reload(page: Page, sandbox: Sandbox):
    rows = terminal(page, sandbox)
    typed(page, "mark=kept; echo one-$((40+2)) in $PWD")
    expect(rows).to_contain_text("one-42 in /home/user/project")
    page.reload()
    expect(rows).to_contain_text("one-42")
    typed(page, "echo still-$mark")
    expect(rows).to_contain_text("still-kept")


def test_several_terminals_each_have_a_shell(page: Page, sandbox: Sandbox, machine: e2b.Machine):
    rows = terminal(page, sandbox)
    typed(page, "me=first; sleep 4141 & echo of-$me")
    expect(rows).to_contain_text("of-first")
    page.get_by_role("button", name="New terminal").click()
    expect(page.get_by_role("button", name="Terminal 2", exact=True)).to_have_attribute("aria-pressed", "true")
    expect(rows).to_contain_text("$")
    typed(page, "echo other-$me-")
    expect(rows).to_contain_text("other--")
    page.get_by_role("button", name="Terminal 1", exact=True).click()
    expect(rows).to_contain_text("of-first")
    page.get_by_role("button", name="Close terminal 1").click()
    expect(page.locator(".terminal-tab")).to_have_count(1)
    until(lambda: machine.run("pgrep -f '^sleep 4141' || true", "look") == "")


def test_the_size_follows_the_window(page: Page, sandbox: Sandbox):
    rows = terminal(page, sandbox)
    page.set_viewport_size({"width": 700, "height": 800})
    expect(rows).to_be_visible()
    columns = page.evaluate("document.querySelector('#terminals .xterm-rows').parentElement.clientWidth")
    assert columns < 700
    until(lambda: sized(page, rows))


def sized(page: Page, rows: Locator) -> bool:
    """Whether the shell knows of a narrow window by now."""
    typed(page, "clear; stty size")
    found = re.search(r"(\d+) (\d+)", rows.inner_text())
    return found is not None and int(found[2]) < 90


def test_what_is_printed_does_not_act_on_the_page(page: Page, sandbox: Sandbox, machine: e2b.Machine):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    evil = (
        b"\x1b]0;owned\x07\x1b]2;owned\x07\x1b]52;c;b3duZWQ=\x07\x1b]52;c;?\x07\x1b[8;2;2t\x1b[21t"
        b"\x1b]8;;javascript:document.title='owned'\x07https://good.example\x1b]8;;\x07 "
        b"<img src=x onerror=alert(1)> still here\n"
    )
    machine.write({f"{PROJECT}/evil": evil}, "write")
    rows = terminal(page, sandbox)
    page.evaluate("navigator.clipboard.writeText('mine')")
    title = page.title()
    typed(page, "cat evil; cat -v > heard & sleep 0.3; echo all-$((1+1))")
    expect(rows).to_contain_text("still here")
    expect(rows).to_contain_text("all-2")
    link = rows.get_by_text("https://good.example").first.bounding_box()
    assert link
    page.mouse.move(link["x"] + 20, link["y"] + 5)
    page.mouse.click(link["x"] + 20, link["y"] + 5)
    assert page.title() == title
    assert page.evaluate("navigator.clipboard.readText()") == "mine"
    assert page.locator("img[src=x]").count() == 0
    # Neither the clipboard nor the title is told to the machine.
    assert b"mine" not in machine.read(f"{PROJECT}/heard", "read")


def test_a_sleeping_sandbox_wakes_by_a_key(page: Page, sandbox: Sandbox):
    sandbox.enter("paused", reason="idle")
    Sandbox.objects.filter(pk=sandbox.pk).update(wanted="pause", stop_by=sandbox.created_at)
    visit(page, sandbox, "terminal")
    bar = page.locator("#terminals .output-bar")
    expect(bar).to_contain_text("Press a key to wake it")
    page.locator("#terminals textarea").press("a")
    expect(bar).to_contain_text("Waking the machine")
    sandbox.refresh_from_db()
    assert sandbox.wanted == "run"
    sandbox.enter("running")
    expect(page.locator("#terminals .xterm-rows")).to_contain_text("$")
    expect(bar).to_be_hidden()


def test_files_are_brought_seen_and_taken(page: Page, sandbox: Sandbox, machine: e2b.Machine, tmp_path: Path):
    machine.write({f"{PROJECT}/app/main.py": b"def main():\n    pass\n", f"{PROJECT}/.hidden": b""}, "write")
    large, text = tmp_path / "large.bin", tmp_path / "notes.txt"
    large.write_bytes(bytes(range(256)) * 40_000)
    text.write_text("some words\n")
    visit(page, sandbox, "files")
    view = page.locator("#files-view")
    expect(view.get_by_role("link", name="app", exact=True)).to_be_visible()
    view.locator("input[type=file]").set_input_files([large, text])
    expect(view.get_by_role("link", name="notes.txt")).to_be_visible(timeout=20_000)
    assert machine.read(f"{PROJECT}/large.bin", "read") == large.read_bytes()
    expect(page.locator("#files-tree").get_by_text("notes.txt")).to_be_visible()
    view.get_by_role("link", name="notes.txt").click()
    expect(view.locator(".file-code")).to_have_text("some words\n")
    with page.expect_download() as download:
        view.get_by_role("link", name="Download").click()
    assert Path(download.value.path()).read_bytes() == text.read_bytes()
    view.get_by_role("link", name="project", exact=True).click()
    view.get_by_role("link", name="Hidden").click()
    expect(view.get_by_role("link", name=".hidden")).to_be_visible()


def test_a_file_is_dropped_and_replaces_another_only_when_asked(page: Page, sandbox: Sandbox, machine: e2b.Machine):
    machine.write({f"{PROJECT}/there.txt": b"old"}, "write")
    visit(page, sandbox, "files")
    expect(page.locator("#files-view").get_by_role("link", name="there.txt")).to_be_visible()
    page.evaluate(
        """() => {
            const data = new DataTransfer();
            data.items.add(new File(["new"], "there.txt"));
            const place = document.querySelector("#files-view table");
            place.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
        }"""
    )
    expect(page.locator(".upload-list")).to_contain_text("There is a file of this name already")
    assert machine.read(f"{PROJECT}/there.txt", "read") == b"old"
    page.get_by_role("button", name="Replace").click()
    until(lambda: machine.read(f"{PROJECT}/there.txt", "read") == b"new")


def test_the_tree_opens_and_a_name_changes_in_both_places(page: Page, sandbox: Sandbox, machine: e2b.Machine):
    machine.write({f"{PROJECT}/app/main.py": b"def main():\n    pass\n"}, "write")
    visit(page, sandbox, "files")
    tree, view = page.locator("#files-tree"), page.locator("#files-view")
    tree.locator("summary").first.click(position={"x": 5, "y": 8})
    tree.get_by_role("link", name="main.py").click()
    expect(view.locator(".file-code .k").first).to_have_text("def")
    view.get_by_role("link", name="app", exact=True).click()
    view.get_by_label("More for main.py").click()
    view.get_by_label("New name").fill("other.py")
    view.get_by_role("button", name="Rename").click()
    expect(view.get_by_role("link", name="other.py")).to_be_visible()
    expect(tree.get_by_role("link", name="other.py")).to_be_visible()


@pytest.fixture
def serving(sandbox: Sandbox, machine: e2b.Machine) -> None:
    """A hostile page in the sandbox."""
    machine.write({f"{e2b.HOME}/server.py": Path(preview_server.__file__).read_bytes()}, "write")
    machine.run("pgrep -f '^python3 server.py' || (nohup python3 server.py > server.log 2>&1 &) ; echo", "start")


def test_a_server_appears_and_its_page_can_not_act_as_the_member(
    page: Page, web: Web, sandbox: Sandbox, machine: e2b.Machine, serving: None, faults: list[str]
):
    visit(page, sandbox, "previews")
    row = page.locator(f"#server-{PORT}")
    expect(row).to_contain_text("python3")
    with page.context.expect_page() as opened:
        row.get_by_role("link", name="Open").click()
    preview = opened.value
    preview.wait_for_url(f"http://{PORT}-{sandbox.pk}.localhost:{web.port}/")
    preview.goto(f"http://{PORT}-{sandbox.pk}.localhost:{web.port}/page?portal={web.url}")
    expect(preview.get_by_role("heading", name="Hello from the sandbox")).to_be_visible()
    preview.get_by_role("button", name="Attack").click()
    expect(preview.locator("#said")).to_contain_text("opener")
    said = json.loads(preview.locator("#said").inner_text())
    assert said == {
        "read": "refused",
        "post": "opaque",
        "socket": "closed 1006",
        "cookie": "",
        "frame": "other",
        "opener": "null",
    }
    assert [frame.url for frame in preview.frames[1:]] == ["chrome-error://chromewebdata/"]
    names = {cookie["name"] for cookie in preview.context.cookies(preview.url)}
    assert names == {"courier-preview"}
    faults.clear()
