"""What follows in a conversation: everything once, from wherever a viewer is, to members only."""

import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from django.db import connections

from codecourier.asgi import application
from codecourier.models import Membership, Project, User
from sandboxes import conversation, turns
from sandboxes.conversation import Follower, following
from sandboxes.models import Sandbox, Template, Turn
from tests.sandboxes.pages import make
from tests.sandboxes.talking import call, result, say, text, turn_of, used
from tests.sandboxes.test_viewer import cookies


def events(html: str) -> list[int]:
    return [int(seq) for seq in re.findall(r'id="event-\d+-(\d+)"', html)]


@pytest.fixture
def sandbox(project: Project) -> Sandbox:
    template = Template.objects.create(slug="claude", name="Claude Code", tool="claude", image="claude")
    return make(project, template)


def news(follower: Follower) -> str:
    """The HTML of the next look."""
    return "".join(message.html for message in follower.look())


# --- what a look gives ---


def test_only_what_is_new_comes(sandbox: Sandbox):
    turn = turn_of(sandbox, "x", text("one"), text("two"))
    follower = Follower(sandbox.pk, f"{turn.pk}.1")
    assert events(news(follower)) == [2]
    assert list(follower.look()) == []
    say(turn, text("three"))
    html = news(follower)
    assert events(html) == [3]
    assert 'class="talk"' not in html
    assert follower.place == f"{turn.pk}.3"


def test_a_result_brings_its_call_up_to_date(sandbox: Sandbox):
    turn = turn_of(sandbox, "x", call(1, "Bash", command="ls"), *[text("y") for _ in range(400)])
    follower = Follower(sandbox.pk, f"{turn.pk}.401")
    list(follower.look())
    say(turn, result(1, "a\n"))
    html = news(follower)
    assert events(html) == [1]
    assert 'data-state="done"' in html


def test_a_call_and_its_result_at_once_are_one_entry(sandbox: Sandbox):
    turn = turn_of(sandbox, "x")
    follower = Follower(sandbox.pk, f"{turn.pk}.0")
    say(turn, call(1, "Bash", command="ls"), result(1, "a\n"))
    assert events(news(follower)) == [1]


def test_what_streams_is_replaced_until_its_event_comes(sandbox: Sandbox):
    turn = turn_of(sandbox, "x")
    follower = Follower(sandbox.pk, f"{turn.pk}.0")
    for words in ("There **are", "There **are** many"):
        say(turn, draft={"kind": "text", "block": "1", "text": words})
        assert 'id="draft-' in news(follower)
    say(turn, text("There **are** many."))
    html = news(follower)
    assert f'<div class="draft" id="draft-{turn.pk}"></div>' in html
    assert html.count("<strong>are</strong>") == 1


def test_tokens_count_up_and_the_end_is_said(sandbox: Sandbox):
    turn = turn_of(sandbox, "x", used(input=1000))
    follower = Follower(sandbox.pk, f"{turn.pk}.0")
    assert "1,000 in" in news(follower)
    say(turn, used(input=500))
    assert "1,500 in" in news(follower)
    turn.move(Turn.Status.FAILED, detail="It broke off.", usage={"m": {"input": 1500, "output": 2}})
    html = news(follower)
    assert "It broke off." in html
    assert 'data-status="failed"' in html
    assert list(follower.look()) == []


def test_the_next_turn_comes_whole(sandbox: Sandbox, member: User):
    first = turn_of(sandbox, "x", text("y"))
    follower = Follower(sandbox.pk, f"{first.pk}.1")
    list(follower.look())
    first.move(Turn.Status.SUCCEEDED)
    second = turn_of(sandbox, "and now **this**", text("z"), by=member)
    html = news(follower)
    assert html.count('class="talk"') == 1
    assert "<strong>this</strong>" in html
    assert follower.place == f"{second.pk}.1"
    assert follower.topics == [f"sandbox:{sandbox.pk}", f"job:{second.job_id}"]


def test_a_message_that_waits_is_not_said_yet(sandbox: Sandbox, member: User):
    follower = Follower(sandbox.pk)
    turns.send(sandbox, member, "x")
    assert list(follower.look()) == []


def test_who_is_far_behind_or_nowhere_gets_the_newest_window(sandbox: Sandbox):
    turn = turn_of(sandbox, "x", *[text(str(number)) for number in range(1000)])
    for place in ("", "999999.5", "x", f"{turn.pk}.3"):
        (message,) = Follower(sandbox.pk, place).look()
        assert message.anew
        assert events(message.html) == list(range(801, 1001))
        assert message.after == f"{turn.pk}.1000"


def test_much_at_once_comes_in_pieces_and_only_the_last_names_the_place(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(following, "MESSAGE_CHARS", 5000)
    turn = turn_of(sandbox, "x")
    follower = Follower(sandbox.pk, f"{turn.pk}.0")
    say(turn, *[text("word " * 100) for _ in range(50)])
    found = list(follower.look())
    assert len(found) > 5
    assert {message.after for message in found[:-1]} == {f"{turn.pk}.0"}
    assert found[-1].after == f"{turn.pk}.50"
    assert events("".join(message.html for message in found)) == list(range(1, 51))


def test_wherever_a_viewer_breaks_off_it_ends_with_everything_once(sandbox: Sandbox):
    """It comes back with the place of any message that it has; parts that it has are only brought up to date."""
    turn = turn_of(sandbox, "x")
    shown, place = dict[str, str](), f"{turn.pk}.0"
    for number in range(30):
        say(turn, call(number, "Bash", command=str(number)))
        for message in Follower(sandbox.pk, place).look():
            parts = re.findall(r'id="(event-\d+-\d+)".*?data-state="(\w+)"', message.html)
            shown |= dict(parts)
            if number % 3:
                place = message.after
        say(turn, result(number, "x"))
    (message, *_) = Follower(sandbox.pk, place).look()
    shown |= dict(re.findall(r'id="(event-\d+-\d+)".*?data-state="(\w+)"', message.html))
    assert len(shown) == 30
    assert set(shown.values()) == {"done"}


def test_what_was_rendered_with_the_page_is_not_sent_again(sandbox: Sandbox):
    turn_of(sandbox, "x", text("y"), call(1, "Bash", command="ls"), result(1, "a"))
    found = conversation.latest(sandbox)
    assert events(news(Follower(sandbox.pk, found.after))) in ([], [2])


# --- the socket ---


class Socket(WebsocketCommunicator):
    """A browser's end."""

    receive_output: Any
    send_to: Any


@pytest.fixture
async def talked(transactional_db: None, member: User, sandbox: Sandbox) -> AsyncIterator[Turn]:
    yield await sync_to_async(turn_of)(sandbox, "x", text("one"))
    await sync_to_async(connections.close_all)()


@asynccontextmanager
async def viewing(user: User | None, turn: Turn, after: str) -> AsyncIterator[Socket]:
    path = f"/ws/p/rocket/sandboxes/{turn.sandbox_id}/conversation/?after={after}"
    socket = Socket(application, path, headers=await sync_to_async(cookies)(user))
    assert (await socket.connect(timeout=30))[0]
    try:
        yield socket
    finally:
        await socket.disconnect()


async def html_until(socket: Socket, enough: Callable[[str], bool]) -> str:
    found = ""
    while not enough(found):
        event = await socket.receive_output(timeout=30)
        assert event["type"] == "websocket.send", event
        found += json.loads(event["text"])["html"]
        await socket.send_to(json.dumps({"done": True}))
    return found


async def test_events_come_as_they_are_stored_and_with_the_next_turn_too(member: User, talked: Turn) -> None:
    async with viewing(member, talked, f"{talked.pk}.1") as socket:
        await html_until(socket, lambda html: "end-" in html)
        await sync_to_async(say)(talked, text("two"))
        assert events(await html_until(socket, lambda html: "two" in html)) == [2]
        await sync_to_async(talked.move)(Turn.Status.SUCCEEDED)
        later = await sync_to_async(turn_of)(talked.sandbox, "y")
        await sync_to_async(later.nudge)()
        await html_until(socket, lambda html: f"talk-{later.pk}" in html)
        await sync_to_async(say)(later, text("of the second"))
        await html_until(socket, lambda html: "of the second" in html)


async def test_a_browser_that_has_not_taken_a_message_gets_no_other(member: User, talked: Turn) -> None:
    async with viewing(member, talked, f"{talked.pk}.0") as socket:
        first = await socket.receive_output(timeout=30)
        assert "one" in first["text"]
        for number in range(5):
            await sync_to_async(say)(talked, text(f"number {number}"))
        assert await socket.receive_nothing(timeout=0.3)
        await socket.send_to("{}")
        html = await html_until(socket, lambda html: "number 4" in html)
        assert events(html) == [2, 3, 4, 5, 6]


@pytest.mark.parametrize(("who", "code"), [("stranger", 4404), ("nobody", 4401)])
async def test_others_are_turned_away(who: str, code: int, stranger: User, talked: Turn) -> None:
    async with viewing(stranger if who == "stranger" else None, talked, "") as socket:
        assert (await socket.receive_output(timeout=30)) == {"type": "websocket.close", "code": code}


async def test_who_is_no_member_any_more_is_turned_away(member: User, talked: Turn) -> None:
    async with viewing(member, talked, f"{talked.pk}.1") as socket:
        await html_until(socket, lambda html: "end-" in html)
        await sync_to_async(Membership.objects.filter(user=member).delete)()
        await sync_to_async(say)(talked, text("secret"))
        assert (await socket.receive_output(timeout=30))["code"] == 4404
