"""The output's socket: every row once and in order, from wherever the browser is, to members only."""

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.db import connections
from django.test import AsyncClient, Client

from codecourier import live
from codecourier.asgi import application
from codecourier.models import Membership, Project, User
from sandboxes import output
from sandboxes.consumers import output as consumer
from sandboxes.models import Job, Output, Sandbox, Template
from tests.sandboxes.relaying import running_sandbox

pytestmark = pytest.mark.django_db(transaction=True)


class Socket(WebsocketCommunicator):
    """A browser's end."""

    receive_output: Any
    send_to: Any


@pytest.fixture
async def job(member: User, template: Template) -> AsyncIterator[Job]:
    made = await sync_to_async(make)(member, template)
    yield made
    await sync_to_async(connections.close_all)()


def make(member: User, template: Template) -> Job:
    sandbox: Sandbox = running_sandbox(member.projects.get(), template)
    return Job.objects.create(sandbox=sandbox, kind=Job.Kind.TURN, status=Job.Status.RUNNING)


def printed(job: Job, *texts: bytes, stream: int = Output.Stream.STDOUT) -> None:
    """More rows, with the nudge of a flush."""
    Output.objects.bulk_create(
        Output(job=job, seq=job.seq + n, t_ms=n, stream=stream, data=text) for n, text in enumerate(texts, 1)
    )
    job.seq += len(texts)
    Job.objects.filter(pk=job.pk).update(seq=job.seq)
    live.nudge(f"job:{job.pk}")


def address(job: Job, query: str) -> str:
    return f"/ws/p/rocket/jobs/{job.pk}/output/?{query}"


def cookies(user: User | None) -> list[tuple[bytes, bytes]]:
    client = Client()
    if user:
        client.force_login(user)
    value = "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())
    return [(b"cookie", value.encode()), (b"origin", b"http://localhost"), (b"host", b"localhost")]


@asynccontextmanager
async def viewing(user: User | None, job: Job, query: str = "after=0") -> AsyncIterator[Socket]:
    socket = Socket(application, address(job, query), headers=await sync_to_async(cookies)(user))
    assert (await socket.connect(timeout=30))[0]
    try:
        yield socket
    finally:
        await socket.disconnect()


async def receive(socket: Socket) -> dict[str, Any] | tuple[int, int, bytes]:
    """The next frame: JSON, or (first, last, data), acknowledged."""
    event = await socket.receive_output(timeout=30)
    assert event["type"] == "websocket.send", event
    if event.get("text"):
        return dict(json.loads(event["text"]))
    first, last = struct.unpack(">QQ", event["bytes"][:16])
    await socket.send_to(json.dumps({"ack": last}))
    return first, last, event["bytes"][16:]


async def collect(socket: Socket, enough: Callable[[bytes], bool]) -> bytes:
    """Bytes until there are enough; the numbering has no gap."""
    data, expected = b"", 0
    while not enough(data):
        frame = await receive(socket)
        assert isinstance(frame, tuple), frame
        assert not expected or frame[0] == expected
        expected = frame[1] + 1
        data += frame[2]
    return data


async def test_rows_come_as_they_are_stored_and_then_the_end(member: User, job: Job) -> None:
    await sync_to_async(printed)(job, b"one\n", b"two\n")
    async with viewing(member, job) as socket:
        assert await receive(socket) == {"start": {"first": 1, "skipped": 0}}
        assert await collect(socket, lambda data: data.endswith(b"two\n")) == b"one\ntwo\n"
        await sync_to_async(printed)(job, b"three\n")
        assert await receive(socket) == (3, 3, b"three\n")
        await sync_to_async(finish)(job, 3)
        end = await receive(socket)
        assert isinstance(end, dict)
        assert (end["end"]["status"], end["end"]["code"], end["end"]["last"]) == ("exited", 3, 3)
        assert (await socket.receive_output(timeout=30))["code"] == 1000


def finish(job: Job, code: int) -> None:
    Job.objects.get(pk=job.pk).move("exited", exit_code=code)


async def test_a_browser_that_comes_back_goes_on_where_it_was(member: User, job: Job) -> None:
    await sync_to_async(printed)(job, *[b"%d\n" % n for n in range(1, 101)])
    async with viewing(member, job, "after=60") as socket:
        assert await receive(socket) == {"start": {"first": 61, "skipped": 0}}
        assert await collect(socket, lambda data: data.endswith(b"100\n")) == b"".join(
            b"%d\n" % n for n in range(61, 101)
        )


async def test_a_newcomer_gets_the_last_stretch_and_is_told_what_came_before(member: User, job: Job) -> None:
    rows = [bytes([65 + n]) * 65536 for n in range(26)]
    await sync_to_async(printed)(job, *rows)
    async with viewing(member, job, "tail=1") as socket:
        assert await receive(socket) == {"start": {"first": 11, "skipped": 10 * 65536}}
        assert await collect(socket, lambda data: len(data) == 16 * 65536) == b"".join(rows[10:])


async def test_no_more_than_a_megabyte_is_under_way(member: User, job: Job) -> None:
    await sync_to_async(printed)(job, *[b"x" * 65536 for _ in range(64)])
    async with viewing(member, job) as socket:
        await receive(socket)
        sent = 0
        while sent <= 512 * 1024 or not await socket.receive_nothing(timeout=0.5, interval=0.05):
            event = await socket.receive_output(timeout=30)
            assert len(event["bytes"]) <= 256 * 1024
            sent, last = sent + len(event["bytes"]) - 16, struct.unpack(">QQ", event["bytes"][:16])[1]
        assert sent <= 1024 * 1024
        await socket.send_to(json.dumps({"ack": last}))
        rest = await collect(socket, lambda data: len(data) == 64 * 65536 - sent)
        assert set(rest) == {ord("x")}


async def test_a_viewer_that_never_acknowledges_is_dropped(
    member: User, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "CHECK_SECONDS", 0.05)
    monkeypatch.setattr(consumer, "DEAD_SECONDS", 0.1)
    await sync_to_async(printed)(job, *[b"x" * 65536 for _ in range(64)])
    async with viewing(member, job) as socket:
        event: dict[str, Any] = {}
        while event.get("type") != "websocket.close":
            event = await socket.receive_output(timeout=30)
        assert event["code"] == 1013


async def test_many_viewers_share_one_read(member: User, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = list[int]()
    read = output.read

    def counted(job: int, after: int, most: int = output.READ_BYTES) -> list[output.Piece]:
        reads.append(after)
        return read(job, after, most)

    monkeypatch.setattr(output, "read", counted)
    async with viewing(member, job) as one, viewing(member, job) as two, viewing(member, job) as three:
        for socket in (one, two, three):
            await receive(socket)
        await one.receive_nothing(timeout=0.3)
        reads.clear()
        await sync_to_async(printed)(job, b"for all\n")
        for socket in (one, two, three):
            assert await receive(socket) == (1, 1, b"for all\n")
        await one.receive_nothing(timeout=0.2)
    assert reads.count(0) == 1, reads


async def test_viewers_far_apart_each_get_everything(member: User, job: Job) -> None:
    rows = [b"%06d\n" % n * 8000 for n in range(100)]
    await sync_to_async(printed)(job, *rows)
    async with viewing(member, job) as slow, viewing(member, job, "tail=1") as quick:
        await receive(slow)
        start = await receive(quick)
        assert isinstance(start, dict)
        tail = b"".join(rows[start["start"]["first"] - 1 :])
        assert await collect(quick, lambda data: len(data) >= len(tail)) == tail
        await sync_to_async(printed)(job, b"the end\n")
        assert await collect(quick, lambda data: data.endswith(b"the end\n")) == b"the end\n"
        assert await collect(slow, lambda data: data.endswith(b"the end\n")) == b"".join(rows) + b"the end\n"


async def test_a_viewer_that_waited_while_the_ring_moved_on_misses_nothing(
    member: User, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sync_to_async(printed)(job, *[b"%d\n" % n for n in range(1, 10)])
    ring, reading, go_on = output.Ring(job.pk, 0), asyncio.Event(), asyncio.Event()
    in_thread = output.in_thread

    async def held(work: Any, *args: Any) -> Any:
        if work is output.news and not go_on.is_set():
            reading.set()
            await go_on.wait()
        return await in_thread(work, *args)

    monkeypatch.setattr(output, "in_thread", held)
    behind = asyncio.create_task(ring.after(0))
    await reading.wait()
    ring.jump(5)
    go_on.set()
    assert [piece.seq for piece in await behind] == list(range(1, 10))


async def test_notes_are_set_apart_from_what_was_printed(member: User, job: Job) -> None:
    await sync_to_async(printed)(job, b"[3 records are missing here]\n", stream=Output.Stream.NOTE)
    async with viewing(member, job) as socket:
        await receive(socket)
        frame = await receive(socket)
        assert isinstance(frame, tuple)
        assert b"\x1b[2m[3 records are missing here]\x1b[0m" in frame[2]


@pytest.mark.parametrize(("who", "code"), [("stranger", 4404), ("nobody", 4401)])
async def test_others_are_turned_away(who: str, code: int, stranger: User, job: Job) -> None:
    await sync_to_async(printed)(job, b"secret\n")
    async with viewing(stranger if who == "stranger" else None, job) as socket:
        event = await socket.receive_output(timeout=30)
        assert (event["type"], event["code"]) == ("websocket.close", code)


async def test_a_job_of_another_project_is_not_there(member: User, stranger: User, job: Job) -> None:
    other = await sync_to_async(project_of)(stranger)
    socket = Socket(application, f"/ws/p/{other}/jobs/{job.pk}/output/", headers=await sync_to_async(cookies)(stranger))
    assert (await socket.connect(timeout=30))[0]
    assert (await socket.receive_output(timeout=30))["code"] == 4404


def project_of(user: User) -> str:
    project = Project.objects.create(name="Other", slug="other")
    Membership.objects.create(project=project, user=user, role="owner")
    return project.slug


async def test_who_loses_the_membership_loses_the_stream(
    member: User, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "CHECK_SECONDS", 0.05)
    async with viewing(member, job) as socket:
        await receive(socket)
        await Membership.objects.filter(user=member).adelete()
        assert (await socket.receive_output(timeout=30))["code"] == 4404


async def test_another_origin_is_refused(member: User, job: Job) -> None:
    own = await sync_to_async(cookies)(member)
    headers = [(name, b"https://evil.example" if name == b"origin" else value) for name, value in own]
    accepted, _ = await Socket(application, address(job, ""), headers=headers).connect(timeout=30)
    assert not accepted


async def test_nonsense_from_a_browser_is_ignored(member: User, job: Job) -> None:
    async with viewing(member, job, "after=%2d1") as socket:
        assert await receive(socket) == {"start": {"first": 1, "skipped": 0}}
        for text in ("", "[]", '{"ack": "9"}', '{"ack": 99999999999999999999}', "{" * 5000):
            await socket.send_to(text or "x")
        await sync_to_async(printed)(job, b"still here\n")
        assert await receive(socket) == (1, 1, b"still here\n")


async def test_the_file_has_every_byte(member: User, job: Job) -> None:
    rows = [b"%d\xff\0" % n * 5000 for n in range(300)]
    await sync_to_async(printed)(job, *rows)
    client = AsyncClient()
    await client.aforce_login(member)
    answer: Any = await client.get(f"/p/rocket/jobs/{job.pk}/output.log")
    assert answer.status_code == 200
    assert answer.is_async, "a plain iterator would be read into memory as a whole"
    assert b"".join([part async for part in answer.streaming_content]) == b"".join(rows)
    assert settings.SECURE_CONTENT_TYPE_NOSNIFF
