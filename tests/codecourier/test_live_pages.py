"""Sockets of pages: what they send, when, and to whom."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from django.db import connections
from django.test import Client

from codecourier import hub
from codecourier.alike import Look
from codecourier.asgi import application
from codecourier.models import Membership, Notification, Project, User
from sandboxes import fleet, record
from sandboxes.models import PullRequest, Sandbox, Template, Turn
from tests.conftest import signed_in
from tests.sandboxes.pages import make

pytestmark = pytest.mark.django_db(transaction=True)
SECONDS = 30


@sync_to_async
def cookie_of(browser: Client) -> bytes:
    return f"sessionid={browser.cookies['sessionid'].value}".encode()


@asynccontextmanager
async def opened(path: str, browser: Client | None) -> AsyncIterator[Any]:
    """An accepted socket of this browser."""
    headers = [(b"origin", b"http://localhost"), (b"host", b"localhost")]
    if browser:
        headers.append((b"cookie", await cookie_of(browser)))
    socket = WebsocketCommunicator(application, path, headers)
    accepted, _ = await socket.connect(timeout=SECONDS)
    assert accepted
    try:
        yield socket
    finally:
        await socket.disconnect()
        await let_go()


async def let_go() -> None:
    """Close the database connection of the thread that the sockets' queries run in."""
    await sync_to_async(connections.close_all)()


async def closed_with(socket: Any) -> int:
    """The code that the server closes with, after whatever it still sends."""
    while True:
        message = await socket.receive_output(SECONDS)
        if message["type"] == "websocket.close":
            return int(message["code"])


async def said(socket: Any, *texts: str) -> str:
    """The first message that has all of these."""
    async with asyncio.timeout(SECONDS):
        while True:
            message = await socket.receive_from(SECONDS)
            if all(text in message for text in texts):
                return str(message)


@pytest.fixture
def sandbox(project: Project, template: Template, member: User) -> Sandbox:
    return make(project, template, title="Run the tests", created_by=member)


PATHS = [
    "/ws/p/rocket/", "/ws/p/rocket/dashboard/", "/ws/p/rocket/sandboxes/", "/ws/p/rocket/sandboxes/{pk}/",
    "/ws/p/rocket/pull-requests/",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
async def test_a_stranger_is_closed_out(path: str, sandbox: Sandbox, stranger_client: Client):
    async with opened(path.format(pk=sandbox.pk), stranger_client) as socket:
        assert await closed_with(socket) == 4404


@pytest.mark.parametrize("path", ["/ws/", *PATHS])
async def test_anonymous_people_are_sent_to_sign_in(path: str, sandbox: Sandbox):
    async with opened(path.format(pk=sandbox.pk), None) as socket:
        assert await closed_with(socket) == 4401


async def test_a_socket_that_does_not_exist_is_closed(member_client: Client):
    async with opened("/ws/nothing/", member_client) as socket:
        assert await closed_with(socket) == 4404


async def test_another_site_gets_no_socket(member_client: Client, project: Project):
    headers = [
        (b"origin", b"https://evil.example"),
        (b"host", b"localhost"),
        (b"cookie", await cookie_of(member_client)),
    ]
    socket = WebsocketCommunicator(application, "/ws/p/rocket/", headers)
    accepted, _ = await socket.connect(timeout=SECONDS)
    assert not accepted
    await let_go()


async def test_the_whole_state_comes_at_once_and_again_after_a_change(member_client: Client, sandbox: Sandbox):
    async with opened(f"/ws/p/rocket/sandboxes/{sandbox.pk}/", member_client) as socket:
        first = await said(socket, 'id="heading"', 'id="running"', 'id="bell"')
        assert first.count('hx-swap-oob="morph"') == 10
        await sync_to_async(fleet.stop)(sandbox, None)
        assert "Stopping: saving work" in await said(socket, 'id="notice"')


async def test_only_what_changed_is_sent(member_client: Client, sandbox: Sandbox, member: User):
    async with opened(f"/ws/p/rocket/sandboxes/{sandbox.pk}/", member_client) as socket:
        await said(socket, 'id="heading"')
        await sync_to_async(Notification.tell)(member, "one", "Look here.")
        message = await said(socket, 'id="bell"')
        assert "bell-count" in message
        assert 'id="heading"' not in message


async def test_a_list_follows_new_and_changed_rows_within_its_filter(
    member_client: Client, sandbox: Sandbox, project: Project, template: Template, member: User
):
    async with opened("/ws/p/rocket/sandboxes/?status=running", member_client) as socket:
        assert "Run the tests" in await said(socket, 'id="rows"')
        await sync_to_async(sandbox.enter)("paused", reason="user")
        assert "No sandbox matches" in await said(socket, 'id="rows"')


async def test_a_list_of_pull_requests_follows_them(member_client: Client, sandbox: Sandbox, project: Project):
    row = await PullRequest.objects.acreate(
        sandbox=sandbox, project=project, status="open", number=7, title="Fix the shop", branch="b", wanted_commit="a"
    )
    async with opened("/ws/p/rocket/pull-requests/?view=open", member_client) as socket:
        assert "#7 Fix the shop" in await said(socket, 'id="rows"')
        await sync_to_async(row.move)("merged")
        message = await said(socket, 'id="rows"', 'id="views"')
        assert "#7" not in message


async def test_a_dashboard_follows_its_cards(member_client: Client, sandbox: Sandbox):
    async with opened("/ws/p/rocket/dashboard/", member_client) as socket:
        await said(socket, 'id="sandboxes-card"', "Run the tests")
        await sync_to_async(fleet.retitle)(sandbox, "Nightly")
        await said(socket, 'id="sandboxes-card"', "Nightly")


async def test_a_message_shows_up_in_the_queue_of_every_open_page(member_client: Client, sandbox: Sandbox, owner: User):
    path = f"/ws/p/rocket/sandboxes/{sandbox.pk}/"
    other = await sync_to_async(signed_in)(owner)
    async with opened(path, member_client) as one, opened(path, other) as two:
        await said(one, 'id="queue"')
        await said(two, 'id="queue"')
        await sync_to_async(member_client.post)(f"/p/rocket/sandboxes/{sandbox.pk}/send/", {"prompt": "echo more"})
        for socket in (one, two):
            await said(socket, 'id="queue"', "echo more")
    assert await Turn.objects.acount() == 1


async def test_a_member_who_is_removed_sees_nothing_more(member_client: Client, sandbox: Sandbox, member: User):
    async with opened(f"/ws/p/rocket/sandboxes/{sandbox.pk}/", member_client) as socket:
        await said(socket, 'id="heading"')
        await Membership.objects.filter(user=member).adelete()
        await sync_to_async(fleet.retitle)(sandbox, "Not for Mia")
        assert await closed_with(socket) == 4404


async def test_signing_out_ends_the_pages_of_that_session(member_client: Client, sandbox: Sandbox):
    async with opened("/ws/p/rocket/sandboxes/", member_client) as socket:
        await said(socket, 'id="rows"')
        await sync_to_async(member_client.post)("/sign-out/")
        assert await closed_with(socket) == 4401


async def test_a_burst_of_changes_becomes_few_messages(member_client: Client, sandbox: Sandbox):
    async with opened("/ws/p/rocket/sandboxes/", member_client) as socket:
        await said(socket, 'id="rows"')
        for number in range(30):
            await sync_to_async(fleet.retitle)(sandbox, f"Title {number}.")
        messages = 0
        while True:
            messages += 1
            if "Title 29." in await said(socket, 'id="rows"'):
                break
        assert messages < 30


async def test_pages_that_show_the_same_are_rendered_once_for_each_change(
    sandbox: Sandbox, member_client: Client, owner: User, monkeypatch: pytest.MonkeyPatch
):
    looks, record_of = list[int](), record.record

    def counted(sandbox: Sandbox, chosen: str = "") -> Any:
        looks.append(sandbox.pk)
        return record_of(sandbox, chosen)

    monkeypatch.setattr(record, "record", counted)
    monkeypatch.setattr(hub, "LOOK_AGAIN_SECONDS", SECONDS)
    path, browsers = f"/ws/p/rocket/sandboxes/{sandbox.pk}/", [member_client, await sync_to_async(signed_in)(owner)]
    async with opened(path, browsers[0]) as one, opened(path, browsers[0]) as two, opened(path, browsers[1]) as three:
        for socket in (one, two, three):
            await said(socket, "Run the tests")
        looks.clear()
        await sync_to_async(fleet.retitle)(sandbox, "Run them all")
        for socket in (one, two, three):
            await said(socket, "Run them all")
    # Whoever was still at its pace asks for itself; who was woken together asks once.
    assert len(looks) < 3


def test_a_look_that_began_before_the_change_is_nobody_elses():
    rendered = [{"part": "old"}, {"part": "new"}]
    early, late = Look(since=1.0, at=2.0), Look(since=3.0, at=4.0)
    assert early.rendered("key", lambda: rendered[0]) == {"part": "old"}
    assert late.rendered("key", lambda: rendered[1]) == {"part": "new"}
    assert Look(since=3.5, at=5.0).rendered("key", dict) == {"part": "new"}
    assert Look(since=3.5, at=5.0).rendered("another", dict) == {}
