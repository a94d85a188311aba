"""The terminal's socket, at real shells in a real machine: members only, bounded, and found again."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from django.utils import timezone

from codecourier.asgi import application
from codecourier.models import Membership, User
from sandboxes import e2b, terminals
from sandboxes.consumers import terminal as consumer
from sandboxes.models import Sandbox
from tests.sandboxes.workbench import cookies, disconnected, local, machine, sandbox

__all__ = ["local", "machine", "sandbox"]
pytestmark = pytest.mark.django_db(transaction=True)


class Socket(WebsocketCommunicator):
    """A browser's end: everything printed so far, and the messages beside it."""

    receive_output: Any
    send_to: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.printed, self.told, self.code = bytearray(), list[dict[str, Any]](), 0

    async def step(self, acknowledge: bool = True) -> None:
        """Take in one frame."""
        event = await self.receive_output(timeout=30)
        if event["type"] == "websocket.close":
            self.code = event["code"]
        elif event.get("text"):
            self.told.append(json.loads(event["text"]))
        else:
            self.printed += event["bytes"]
            if acknowledge:
                await self.tell(ack=len(self.printed))

    async def until(self, text: bytes) -> None:
        """Until this was printed."""
        start = 0
        while self.printed.find(text, start) < 0:
            assert not self.code, self.told
            start = max(0, len(self.printed) - len(text))
            await self.step()

    async def until_told(self, name: str) -> Any:
        """The value of the next message with this name."""
        while True:
            for message in self.told:
                if name in message:
                    self.told.remove(message)
                    return message[name]
            assert not self.code, (name, self.code, self.told)
            await self.step()

    async def until_closed(self) -> int:
        """The close code."""
        while not self.code:
            await self.step()
        return self.code

    async def tell(self, **message: Any) -> None:
        await self.send_to(text_data=json.dumps(message))

    async def type(self, text: str) -> None:
        await self.send_to(bytes_data=text.encode())


@pytest.fixture(autouse=True)
async def no_shell_left() -> AsyncIterator[None]:
    yield
    for shell in list(terminals._shells().values()):
        await shell.end()
    await disconnected()


@asynccontextmanager
async def at(user: User | None, sandbox: Sandbox, query: str = "columns=80&rows=24") -> AsyncIterator[Socket]:
    path = f"/ws/p/rocket/sandboxes/{sandbox.pk}/terminal/?{query}"
    socket = Socket(application, path, headers=await sync_to_async(cookies)(user))
    assert (await socket.connect(timeout=30))[0]
    try:
        yield socket
    finally:
        await socket.disconnect()


async def test_what_is_typed_is_run_in_the_project_folder(member: User, sandbox: Sandbox) -> None:
    async with at(member, sandbox) as socket:
        await socket.until_told("shell")
        await socket.type("echo at-$PWD; stty size\n")
        await socket.until(b"at-/home/user/project")
        await socket.until(b"24 80")
        await socket.tell(size=[100, 30])
        await socket.type("stty size\n")
        await socket.until(b"30 100")


async def test_the_same_shell_is_found_again_with_what_it_printed(member: User, sandbox: Sandbox) -> None:
    async with at(member, sandbox) as socket:
        handle = await socket.until_told("shell")
        await socket.type("mark=kept; echo one-$((40+2))\n")
        await socket.until(b"one-42")
    async with at(member, sandbox, f"shell={handle}&columns=80&rows=24") as socket:
        assert await socket.until_told("replay") > 0
        await socket.until(b"one-42")
        await socket.type("echo still-$mark\n")
        await socket.until(b"still-kept")


async def test_another_web_process_goes_on_with_the_shell(member: User, sandbox: Sandbox) -> None:
    async with at(member, sandbox) as socket:
        handle = await socket.until_told("shell")
        await socket.type("mark=kept; echo one-$((40+2))\n")
        await socket.until(b"one-42")
    for shell in list(terminals._shells().values()):
        await shell.leave()
    async with at(member, sandbox, f"shell={handle}&columns=80&rows=24") as socket:
        assert await socket.until_told("replay") == 0
        await socket.type("echo still-$mark\n")
        await socket.until(b"still-kept")


async def test_two_windows_see_the_same_shell(member: User, owner: User, sandbox: Sandbox) -> None:
    async with at(member, sandbox) as one:
        handle = await one.until_told("shell")
        async with at(owner, sandbox, f"shell={handle}") as other:
            await other.until_told("shell")
            await one.type("echo for-$((1+1))\n")
            await one.until(b"for-2")
            await other.until(b"for-2")


async def test_the_end_of_a_shell_is_told(member: User, sandbox: Sandbox) -> None:
    async with at(member, sandbox) as socket:
        await socket.until_told("shell")
        await socket.type("exit 3\n")
        assert await socket.until_told("over") == "This shell has ended."
        assert await socket.until_closed() == consumer.ENDED


async def test_closing_a_terminal_ends_what_runs_in_it(member: User, sandbox: Sandbox, machine: e2b.Machine) -> None:
    async with at(member, sandbox) as socket:
        await socket.until_told("shell")
        await socket.type("sleep 4242 & echo started-$((1+1))\n")
        await socket.until(b"started-2")
        await socket.tell(end=True)
        assert await socket.until_closed() == consumer.ENDED
    left = await sync_to_async(machine.run)("pgrep -f '^sleep 4242' || true", "look")
    assert left == ""


async def test_a_shell_that_nobody_watches_ends(
    member: User, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminals, "LINGER_SECONDS", 0.05)
    async with at(member, sandbox) as socket:
        handle = await socket.until_told("shell")
        (shell,) = terminals._shells().values()
    await asyncio.wait([shell.task], timeout=60)
    assert shell.over is True
    async with at(member, sandbox, f"shell={handle}") as socket:
        assert await socket.until_told("over") == "This shell has ended."


async def test_printing_waits_for_a_browser_that_is_slow(member: User, sandbox: Sandbox) -> None:
    async with at(member, sandbox) as socket:
        await socket.until_told("shell")
        await socket.type("yes | head -c 2000000; echo all-$((1+1))\n")
        while len(socket.printed) < terminals.WINDOW_BYTES:
            await socket.step(acknowledge=False)
        while not await socket.receive_nothing(timeout=0.3, interval=0.02):
            await socket.step(acknowledge=False)
        assert len(socket.printed) <= terminals.WINDOW_BYTES + terminals.PIECE_BYTES
        await socket.tell(ack=len(socket.printed))
        await socket.until(b"all-2")
        assert len(socket.printed) > 2_000_000


async def test_a_long_paste_arrives_whole_and_is_acknowledged(member: User, sandbox: Sandbox) -> None:
    async with at(member, sandbox) as socket:
        await socket.until_told("shell")
        await socket.type("stty -echo; wc -c > count; echo done-$(cat count)\n")
        text = ("x" * 99 + "\n") * 2000
        for start in range(0, len(text), 32_000):
            await socket.type(text[start : start + 32_000])
        await socket.type("\x04")
        await socket.until(b"done-200000")
        while await socket.until_told("took") <= len(text):
            pass


async def test_a_flood_is_cut_off(member: User, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "TYPED_BYTES", 1000)
    async with at(member, sandbox) as socket:
        await socket.until_told("shell")
        await socket.send_to(bytes_data=b"x" * 1001)
        assert await socket.until_closed() == consumer.FLOOD


async def test_the_shell_knows_no_key(member: User, sandbox: Sandbox) -> None:
    async with at(member, sandbox) as socket:
        await socket.until_told("shell")
        await socket.type("env; echo listed-$((1+1))\n")
        await socket.until(b"listed-2")
    assert b"KEY=" not in socket.printed
    assert b"TOKEN=" not in socket.printed


async def test_typing_keeps_the_sandbox_awake(member: User, sandbox: Sandbox) -> None:
    long_ago = timezone.now() - timedelta(hours=1)
    await Sandbox.objects.filter(pk=sandbox.pk).aupdate(active_at=long_ago)
    async with at(member, sandbox) as socket:
        await socket.until_told("shell")
        await socket.type("echo hi-$((1+1))\n")
        await socket.until(b"hi-2")
        await socket.until_told("took")
        assert (await Sandbox.objects.aget(pk=sandbox.pk)).active_at > long_ago


async def test_a_sleeping_sandbox_is_woken_only_when_asked(member: User, sandbox: Sandbox) -> None:
    await sync_to_async(sandbox.enter)(Sandbox.Status.PAUSED, reason="idle")
    async with at(member, sandbox) as socket:
        assert await socket.until_told("over") == "The sandbox sleeps. Press a key to wake it."
        assert await socket.until_closed() == consumer.ASLEEP
    async with at(member, sandbox, "wake=1") as socket:
        assert await socket.until_told("say") == "Waking the machine…"
        assert (await Sandbox.objects.aget(pk=sandbox.pk)).wanted == "run"
        await sync_to_async(sandbox.enter)(Sandbox.Status.RUNNING)
        await socket.until_told("shell")


async def test_a_terminal_ends_with_its_machine(member: User, sandbox: Sandbox) -> None:
    async with at(member, sandbox) as socket:
        await socket.until_told("shell")
        await sync_to_async(sandbox.enter)(Sandbox.Status.KILLED, reason="user")
        assert "is gone" in await socket.until_told("over")
        assert await socket.until_closed() == consumer.MACHINE_GONE


@pytest.mark.parametrize(("who", "code"), [("stranger", 4404), ("nobody", 4401)])
async def test_others_are_turned_away(who: str, code: int, stranger: User, sandbox: Sandbox) -> None:
    async with at(stranger if who == "stranger" else None, sandbox) as socket:
        assert await socket.until_closed() == code
    assert not terminals._shells()


async def test_who_loses_the_membership_loses_the_terminal(
    member: User, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "CHECK_SECONDS", 0.05)
    async with at(member, sandbox) as socket:
        await socket.until_told("shell")
        await Membership.objects.filter(user=member).adelete()
        assert await socket.until_closed() == 4404


async def test_a_handle_of_another_sandbox_opens_nothing(member: User, sandbox: Sandbox) -> None:
    async with at(member, sandbox) as socket:
        handle = await socket.until_told("shell")
    other = await Sandbox.objects.aget(pk=sandbox.pk)
    other.pk += 1
    assert await terminals.rejoin(other, handle) is None
    assert await terminals.rejoin(sandbox, handle[:-1] + "~") is None


async def test_nonsense_from_a_browser_is_ignored(member: User, sandbox: Sandbox) -> None:
    async with at(member, sandbox, "columns=x&rows=-4") as socket:
        await socket.until_told("shell")
        for text in (
            "[]",
            '{"ack": "9"}',
            '{"ack": 99999999999999}',
            '{"size": [1e99, null]}',
            "{" * 5000,
            '{"end": 1}',
        ):
            await socket.send_to(text_data=text)
        await socket.type("echo fine-$((1+1))\n")
        await socket.until(b"fine-2")


async def test_no_more_terminals_than_a_machine_may_have(
    member: User, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminals, "MOST", 1)
    async with at(member, sandbox) as one:
        await one.until_told("shell")
        async with at(member, sandbox) as other:
            assert "Close one of them first" in await other.until_told("over")
