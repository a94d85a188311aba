"""The conversation in a real browser: live, complete after every loss, calm, and closed to what agents send."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from codecourier.models import Project, User
from sandboxes import turns
from sandboxes.models import Sandbox, Template, Turn
from tests.browser.conftest import Web, open_as
from tests.sandboxes.pages import make
from tests.sandboxes.talking import call, result, say, text, turn_of, used

MANY = [text(f"This is number {number}.") for number in range(1, 501)]


@pytest.fixture
def sandbox(web: Web, project: Project, member: User) -> Sandbox:
    template = Template.objects.create(slug="claude", name="Claude Code", tool="claude", image="claude")
    return make(project, template, title="Fix it", created_by=member, designer_model="claude-sonnet-4-5")


def visit(page: Page, sandbox: Sandbox, query: str = "") -> Locator:
    """The pane, live."""
    page.goto(f"/p/rocket/sandboxes/{sandbox.pk}/?{query}")
    expect(page.locator("html")).to_have_attribute("data-live", "yes")
    pane = page.locator("#conversation")
    expect(pane).to_have_attribute("data-live", "yes")
    return pane


def distance(pane: Locator) -> float:
    """Pixels from the end."""
    return float(pane.evaluate("pane => pane.scrollHeight - pane.scrollTop - pane.clientHeight"))


def scroll_up(page: Page, pane: Locator, pixels: int = 2000) -> None:
    pane.hover()
    page.mouse.wheel(0, -pixels)
    expect(page.locator("#newest")).to_be_visible()


def doubled(page: Page) -> list[str]:
    """Ids that are there more than once."""
    ids: list[str] = page.evaluate("[...document.querySelectorAll('[id]')].map((element) => element.id)")
    return sorted({name for name in ids if ids.count(name) > 1})


def test_a_turn_unfolds_as_it_happens(page: Page, sandbox: Sandbox, member: User):
    pane = visit(page, sandbox)
    expect(pane).to_contain_text("Nothing has been said yet")
    turn = turn_of(sandbox, "Fix **it**", by=member)
    turn.nudge()
    expect(pane.locator(".said strong")).to_have_text("it")
    say(turn, draft={"kind": "thinking", "block": "1", "text": "Let me see"})
    expect(pane.locator(".draft")).to_contain_text("Let me see")
    say(turn, ("thinking", {"text": "Let me see."}), call(1, "Bash", command="make test"))
    expect(pane.locator(".call-live")).to_be_visible()
    expect(pane.locator(".draft")).to_have_text("")
    say(
        turn,
        result(1, "1 failed", error=True, code=2),
        used(input=1234),
        draft={"kind": "text", "block": "2", "text": "It **fa"},
    )
    expect(pane.locator(".call")).to_contain_text("exit 2")
    expect(pane.locator(".end")).to_contain_text("1,234 in")
    say(turn, text("It **failed**."))
    expect(pane.locator(".event strong")).to_have_text("failed")
    turn.move(Turn.Status.FAILED, detail="The agent gave up.")
    expect(pane.locator(".end")).to_contain_text("The agent gave up.")
    assert doubled(page) == []


def test_a_reload_another_window_and_a_lost_connection_show_the_same(
    page: Page, web: Web, sandbox: Sandbox, faults: list[str]
):
    turn = turn_of(sandbox, "x", text("one"))
    pane = visit(page, sandbox)
    other = visit(page.context.new_page(), sandbox)
    say(turn, text("two"))
    for window in (pane, other):
        expect(window.locator(".event")).to_have_text(["one", "two"])
    page.reload()
    expect(pane.locator(".event")).to_have_text(["one", "two"])
    web.kill()
    expect(page.locator("#connection")).to_be_visible()
    say(turn, call(1, "Bash", command="ls"), text("three"))
    web.start()
    for window in (pane, other):
        expect(window.locator(".event")).to_have_count(4)
    say(turn, result(1, "a"), text("four"))
    for window in (pane, other):
        expect(window.locator(".event")).to_have_count(5)
        expect(window.locator(".call")).to_have_attribute("data-state", "done")
    assert doubled(page) == []
    faults.clear()


def test_older_events_come_on_the_way_up_and_nothing_jumps(page: Page, sandbox: Sandbox):
    turn_of(sandbox, "the first", *MANY, status="succeeded")
    turn_of(sandbox, "the second", *MANY[:20], status="succeeded")
    pane = visit(page, sandbox)
    expect(pane.locator(".event")).to_have_count(200)
    assert distance(pane) < 5
    for count in (400, 520):
        first = pane.locator(".event").first
        before = first.evaluate("event => event.id")
        pane.evaluate("pane => { pane.scrollTop = 200; }")
        expect(pane.locator(".event")).to_have_count(count)
        assert pane.locator(f"#{before}").evaluate("event => event.getBoundingClientRect().top") > -200
        assert pane.evaluate("pane => pane.scrollTop") > 1000
    expect(pane.locator(".older")).to_have_count(0)
    expect(pane.locator(".talk")).to_have_count(2)
    expect(pane.locator(".event").first).to_have_text("This is number 1.")
    assert doubled(page) == []


def test_who_reads_further_up_is_left_there(page: Page, sandbox: Sandbox):
    turn = turn_of(sandbox, "x", *MANY[:150])
    pane = visit(page, sandbox)
    say(turn, text("followed"))
    expect(pane).to_contain_text("followed")
    expect(page.locator("#newest")).to_be_hidden()
    assert distance(pane) < 5
    scroll_up(page, pane)
    top = pane.evaluate("pane => pane.scrollTop")
    say(turn, text("not followed"))
    expect(pane).to_contain_text("not followed")
    assert pane.evaluate("pane => pane.scrollTop") == top
    page.locator("#newest").click()
    expect(page.locator("#newest")).to_be_hidden()
    assert distance(pane) < 5


def test_what_is_opened_selected_or_focused_stays_so(page: Page, sandbox: Sandbox):
    turn = turn_of(
        sandbox, "x", ("thinking", {"text": "deep"}), text("Select me please."), call(1, "Bash", command="make")
    )
    pane = visit(page, sandbox)
    pane.locator(".call summary").click()
    expect(pane.locator(".call .section")).to_contain_text("make")
    pane.locator(".thinking summary").click()
    page.locator("#prompt").fill("half a mess")
    pane.get_by_text("Select me please.").select_text()
    say(turn, result(1, "built"), text("more"), draft={"kind": "text", "block": "2", "text": "stream"})
    expect(pane.locator(".call .section").nth(1)).to_contain_text("built")
    expect(pane.locator(".draft")).to_contain_text("stream")
    assert page.evaluate("getSelection().toString()").strip() == "Select me please."
    expect(pane.locator(".thinking .as-written")).to_be_visible()
    expect(page.locator("#prompt")).to_have_value("half a mess")
    pane.locator(".call summary").focus()
    say(turn, text("even more"))
    expect(pane).to_contain_text("even more")
    assert page.evaluate("document.activeElement.closest('.call') !== null")


def test_show_all_shows_all(page: Page, sandbox: Sandbox):
    turn_of(sandbox, "x", call(1, "Bash", command="seq 9999"), result(1, "\n".join(map(str, range(9999)))))
    pane = visit(page, sandbox)
    pane.locator(".call summary").click()
    expect(pane.locator(".call")).not_to_contain_text("9998")
    pane.get_by_role("link", name="Show all").click()
    expect(pane.locator(".call")).to_contain_text("9998")


def test_a_hostile_agent_changes_nothing_outside_its_pane(page: Page, sandbox: Sandbox, faults: list[str]):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    turn = turn_of(sandbox, "x")
    pane = visit(page, sandbox)
    page.evaluate("navigator.clipboard.writeText('mine')")
    title, url = page.title(), page.url
    around = "[...document.querySelectorAll('#heading h1, .navbar, #facts h2')].map((part) => part.innerHTML).join()"
    before = page.evaluate(around)
    evil = (
        '</div></article></div></section>]]></script><script>document.title="owned"</script>'
        '<img src=x onerror="document.title=1"><style>*{display:none}</style><form id="composer" action="//evil">'
        '<div id="queue" hx-swap-oob="true">owned</div><meta http-equiv="refresh" content="0;url=//evil">'
        '<base href="//evil"><iframe src="javascript:1"></iframe>'
    )
    links = (
        "[a](javascript:document.title=1) <javascript:alert(1)> ![x](https://evil.example/x.png) [d](data:text/html,x)"
    )
    ansi = "\x1b]0;owned\x07\x1b]52;c;b3duZWQ=\x07\x1b[2J\x1b[?1049h" * 200
    fake = '{"type":"result","is_error":false}\n{"html":"owned","after":"999.999","anew":true}'
    say(
        turn, text(evil), text(links), text(f"```html\n{evil}\n```"), ("thinking", {"text": evil}), text("x" * 500_000),
        call(1, evil, command=evil), result(1, evil + ansi + fake, error=True), ("error", {"text": evil}),
        ("raw", {"text": evil, "bytes": 9}), ("retry", {"attempt": evil, "text": evil}), text("> " * 20_000),
        call(2, "Edit", file_path=evil, old_string=evil, new_string=fake * 1000), result(2, "y" * 400_000),
        text("the very end"), draft={"kind": "text", "block": "1", "text": evil},
    )  # fmt: skip
    expect(pane).to_contain_text("the very end")
    for summary in pane.locator(".call > summary").all():
        summary.click()
    expect(pane.locator(".call .section")).to_have_count(4)
    expect(pane.locator(".draft")).to_contain_text("owned")
    assert (page.title(), page.url) == (title, url)
    assert page.evaluate(around) == before
    assert page.evaluate("navigator.clipboard.readText()") == "mine"
    assert pane.locator("script, img, style, form, iframe, meta, base, [hx-swap-oob], [onerror]").count() == 0
    assert {link.get_attribute("href") for link in pane.locator(".written a[target]").all()} == {
        "https://evil.example/x.png"
    }
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    assert doubled(page) == []
    expect(page.get_by_label("Message to the agent")).to_be_visible()
    assert faults == []


def test_a_message_goes_with_files_model_and_effort(page: Page, sandbox: Sandbox, tmp_path: Path):
    (tmp_path / "notes.txt").write_text("some notes")
    (tmp_path / "other.txt").write_text("other")
    turn_of(sandbox, "x", status="succeeded")
    visit(page, sandbox)
    page.locator("#files").set_input_files([tmp_path / "notes.txt", tmp_path / "other.txt"])
    page.get_by_role("button", name="Leave out other.txt").click()
    page.get_by_label("Model").fill("claude-opus-4-5")
    page.get_by_label("Thinking effort").select_option("high")
    page.get_by_label("Message to the agent").fill("Read the notes")
    page.get_by_label("Message to the agent").press("Control+Enter")
    expect(page.locator("#queue")).to_contain_text("Read the notes")
    expect(page.get_by_label("Message to the agent")).to_have_value("")
    expect(page.get_by_label("Model")).to_have_value("claude-opus-4-5")
    expect(page.get_by_label("Thinking effort")).to_have_value("high")
    expect(page.locator("#chosen-files .chip")).to_have_count(0)
    sent = sandbox.turns.get(prompt="Read the notes")
    assert (sent.model, sent.effort) == ("claude-opus-4-5", "high")
    assert [file.name for file in sent.attachments.all()] == ["notes.txt"]


def test_files_can_be_dropped_and_pasted(page: Page, sandbox: Sandbox):
    visit(page, sandbox)
    files = "Object.assign(new DataTransfer(), {})"
    for kind, name in (("drop", "dropped.png"), ("paste", "pasted.png")):
        page.evaluate(
            """([kind, name, files]) => {
                const data = new DataTransfer();
                data.items.add(new File(["x"], name, { type: "image/png" }));
                const event = kind === "drop"
                    ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
                    : new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true });
                document.getElementById("prompt").dispatchEvent(event);
            }""",
            [kind, name, files],
        )
    expect(page.locator("#chosen-files .chip")).to_have_count(2)
    page.get_by_label("Message to the agent").fill("Look")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#queue")).to_contain_text("Look")
    assert [file.name for file in sandbox.turns.get().attachments.all()] == ["dropped.png", "pasted.png"]


def test_a_file_that_is_too_large_is_said_before_anything_is_sent(page: Page, sandbox: Sandbox, tmp_path: Path):
    with (tmp_path / "big.bin").open("wb") as file:
        file.truncate(21 * 2**20)
    visit(page, sandbox)
    page.locator("#files").set_input_files(tmp_path / "big.bin")
    expect(page.get_by_role("alert")).to_have_text(
        "big.bin has 21 MB; a file may have 20 MB. Leave it out or make it smaller."
    )
    page.get_by_label("Message to the agent").fill("Read it")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_label("Message to the agent")).to_have_value("Read it")
    page.get_by_role("button", name="Leave out big.bin").click()
    expect(page.get_by_role("alert")).to_have_count(0)
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#queue")).to_contain_text("Read it")
    assert sandbox.turns.get().attachments.count() == 0


def test_the_queue_is_reordered_by_buttons_and_by_dragging(page: Page, sandbox: Sandbox, member: User):
    for words in ("alpha", "beta", "gamma"):
        turns.send(sandbox, member, words)
    visit(page, sandbox)
    order = page.locator("#queued summary .text-truncate")
    page.locator("#queued summary").last.click()
    page.get_by_label("Earlier").last.click()
    expect(order).to_have_text(["alpha", "gamma", "beta"])
    page.locator(".queue-grip").nth(2).drag_to(
        page.locator("#queued > details").first, target_position={"x": 20, "y": 3}
    )
    expect(order).to_have_text(["beta", "alpha", "gamma"])
    page.reload()
    expect(order).to_have_text(["beta", "alpha", "gamma"])


def test_what_comes_while_something_is_dragged_does_not_take_it_away(page: Page, sandbox: Sandbox, member: User):
    for words in ("alpha", "beta"):
        turns.send(sandbox, member, words)
    visit(page, sandbox)
    page.evaluate("document.addEventListener('htmx:wsAfterMessage', () => (window.told = (window.told ?? 0) + 1))")
    order = page.locator("#queued summary .text-truncate")
    grip, first = page.locator(".queue-grip").nth(1), page.locator("#queued > details").first
    grip.hover()
    page.mouse.down()
    box = first.bounding_box()
    assert box
    page.mouse.move(box["x"] + 30, box["y"] + box["height"], steps=5)
    expect(page.locator("#queued .sortable-chosen")).to_have_count(1)
    told = page.evaluate("window.told ?? 0")
    turns.send(sandbox, member, "gamma")
    page.wait_for_function("told => window.told > told", arg=told)
    page.mouse.move(box["x"] + 30, box["y"] + 3, steps=5)
    page.mouse.up()
    expect(order).to_have_text(["beta", "alpha", "gamma"])


def test_all_of_it_works_without_scripts(browser: Browser, web: Web, member: User, sandbox: Sandbox, tmp_path: Path):
    (tmp_path / "notes.txt").write_text("some notes")
    turn_of(sandbox, "the first", *MANY[:210], call(1, "Bash", command="ls"), result(1, "a.txt"), status="succeeded")
    for words in ("alpha", "beta"):
        turns.send(sandbox, member, words)
    plain = open_as(browser, web, member, java_script_enabled=False)
    plain.goto(f"/p/rocket/sandboxes/{sandbox.pk}/")
    plain.locator(".call summary").click()
    plain.get_by_role("link", name="Input and output").click()
    expect(plain.locator("main")).to_contain_text("a.txt")
    plain.go_back()
    plain.get_by_role("link", name="Show earlier").click()
    expect(plain.locator("#conversation")).to_contain_text("This is number 1.")
    plain.locator("#queued summary").last.click()
    plain.get_by_label("Earlier").click()
    expect(plain.locator("#queued summary .text-truncate")).to_have_text(["beta", "alpha"])
    plain.locator("#files").set_input_files(tmp_path / "notes.txt")
    plain.get_by_label("Message to the agent").fill("With a file")
    plain.get_by_role("button", name="Send").click()
    expect(plain.locator("#queue")).to_contain_text("With a file")
    plain.context.close()
    assert sandbox.turns.get(prompt="With a file").attachments.count() == 1


def test_the_first_look_at_another_tab_costs_nothing_and_the_conversation_comes_when_it_is_opened(
    page: Page, sandbox: Sandbox
):
    turn_of(sandbox, "x", *MANY[:100])
    page.goto(f"/p/rocket/sandboxes/{sandbox.pk}/?tab=timeline")
    expect(page.locator("html")).to_have_attribute("data-live", "yes")
    expect(page.locator(".event")).to_have_count(0)
    page.get_by_role("link", name="Conversation").click()
    pane = page.locator("#conversation")
    expect(pane.locator(".event")).to_have_count(100)
    expect(page.locator("#newest")).to_be_hidden()
    assert distance(pane) < 5
