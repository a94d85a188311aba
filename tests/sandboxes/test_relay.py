"""The relay with a real courier and a real database: stored is redact(spool), whatever happens on the way."""

import asyncio
import base64
import json
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from asgiref.sync import sync_to_async
from django.conf import LazySettings
from django.db import DataError, OperationalError, connections
from django.utils import timezone

from codecourier.models import Project, Variable
from sandboxes.agents import AGENTS
from sandboxes.models import Event, Job, Output, Sandbox, Template
from sandboxes.relay import flush, follower, loop
from sandboxes.relay.fold import Batch
from tests.sandboxes.plain_agent import Plain
from tests.sandboxes.relaying import (
    Folder,
    ended,
    folder,
    printed_something,
    relaying,
    running_sandbox,
    stored,
    truth,
    until,
)

pytestmark = pytest.mark.django_db(transaction=True)
# Until the test has made a file of this name.
WAIT = "until [ -e ~/{} ]; do sleep 0.01; done"


@pytest.fixture
async def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Folder]:
    made = folder(tmp_path, monkeypatch)
    yield made
    await made.close()
    made.sweep()
    await sync_to_async(connections.close_all)()


@pytest.fixture
def sandbox(transactional_db: None) -> Sandbox:
    project = Project.objects.create(name="Rocket", slug="rocket")
    template = Template.objects.create(slug="script", name="Script", tool="script", image="script")
    return running_sandbox(project, template)


async def test_everything_printed_is_stored_with_the_exit(machine: Folder, sandbox: Sandbox) -> None:
    script = r"for i in $(seq 300); do echo line $i; done; printf 'a\0b\377' >&2; exit 3"
    async with relaying():
        job = await ended(await machine.start(sandbox, script))
    assert await stored(job) == truth(machine, job)
    assert (job.status, job.exit_code, job.lines) == ("exited", 3, 300)
    assert job.lease_until is None


async def test_secrets_never_reach_the_database(machine: Folder, sandbox: Sandbox) -> None:
    secret = "correct-horse-battery"
    await Variable.objects.acreate(project_id=sandbox.project_id, name="PASS", value=secret, secret=True)
    code = base64.b64encode(secret.encode()).decode()
    script = f"printf 'x%s\\n' {secret}; printf correct-ho; sleep 0.05; echo rse-battery; echo {code}"
    async with relaying():
        job = await ended(await machine.start(sandbox, script))
    found = await stored(job)
    assert found == truth(machine, job, {"PASS": secret})
    assert secret.encode() not in found["stdout"]
    assert code.encode() not in found["stdout"]
    assert found["stdout"].count(b"[PASS redacted]") == 3


async def test_a_stream_that_breaks_is_taken_up_where_it_broke(machine: Folder, sandbox: Sandbox) -> None:
    async with relaying():
        job = await machine.start(sandbox, "until [ -e ~/enough ]; do echo line $((i += 1)); sleep 0.01; done")
        killed: list[Process] = []
        for _ in range(3):
            await until(lambda: answer(machine.followers[-1:] not in ([], killed)))  # noqa: B023
            rows = await Output.objects.filter(job=job).acount()
            await until(Output.objects.filter(job=job, seq__gt=rows).aexists)
            # Whichever follows now: one that came before the job's start has been refused and is not the one that read.
            killed = machine.followers[-1:]
            killed[0].kill()
        (machine.home / "enough").touch()
        await ended(job)
    assert await stored(job) == truth(machine, job)


async def test_a_relay_that_stops_leaves_the_rest_to_the_next_one(machine: Folder, sandbox: Sandbox) -> None:
    async with relaying():
        job = await machine.start(sandbox, "for i in $(seq 100); do echo line $i; sleep 0.01; done")
        await printed_something(job)
    await job.arefresh_from_db()
    assert job.lease_until is None
    async with relaying():
        await ended(job)
    assert await stored(job) == truth(machine, job)


async def test_two_relays_share_a_job_without_doubling_it(machine: Folder, sandbox: Sandbox) -> None:
    async with relaying(), relaying():
        jobs = [await machine.start(sandbox, f"seq {n}000") for n in range(1, 6)]
        for job in jobs:
            await ended(job)
    for job in jobs:
        assert await stored(job) == truth(machine, job)


async def test_an_epoch_that_is_not_ours_any_more_writes_nothing(machine: Folder, sandbox: Sandbox) -> None:
    async with relaying() as relay:
        job = await machine.start(sandbox, f"echo first; {WAIT.format('go')}; echo second; sleep 30")
        await printed_something(job)
        later = timezone.now() + Job.LEASE * 10
        await Job.objects.filter(pk=job.pk).aupdate(lease_epoch=99, lease_until=later)
        (machine.home / "go").touch()
        await until(lambda: answer(not relay.followers))
    assert (await stored(job))["stdout"] == b"first\n"


async def test_a_flush_that_committed_without_an_answer_stores_nothing_twice(
    machine: Folder, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, failed = flush.write, list[int]()

    def cut_off(batches: flush.Batches) -> set[int]:
        answer = write(batches)
        if len(failed) < 3:
            failed.append(len(batches))
            raise OperationalError("the connection was lost after the commit")
        return answer

    monkeypatch.setattr(flush, "write", cut_off)
    async with relaying():
        job = await ended(await machine.start(sandbox, "for i in $(seq 50); do echo line $i; sleep 0.01; done"))
    assert len(failed) == 3
    assert await stored(job) == truth(machine, job)
    assert job.status == "exited"


async def test_while_the_database_is_away_all_jobs_together_wait_within_a_bound(
    machine: Folder, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "WAITING", 1024 * 1024)
    write, away = flush.write, asyncio.Event()

    def unreachable(batches: flush.Batches) -> set[int]:
        if not away.is_set():
            raise OperationalError("no database")
        return write(batches)

    monkeypatch.setattr(flush, "write", unreachable)
    async with relaying() as relay:
        jobs = [await machine.start(sandbox, "head -c 3000000 /dev/zero | base64 -w 100") for _ in range(4)]

        async def all_wait() -> bool:
            return len(relay.followers) == 4 and not any(one.room.is_set() for one in relay.followers.values())

        await until(all_wait, 30)
        # Each may exceed its share by what the courier sent in one piece.
        assert all(one.fold.size < relay.room() + 1024 * 1024 for one in relay.followers.values())
        assert relay.room() == 256 * 1024
        away.set()
        for job in jobs:
            done = await ended(job)
            assert await stored(done) == truth(machine, done)


async def test_what_the_database_refuses_becomes_a_visible_note(
    machine: Folder, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = flush.copy

    def picky(batches: Mapping[int, Batch], known: Mapping[int, tuple[int, int]]) -> None:
        if any(b"poison" in row.data for batch in batches.values() for row in batch.rows):
            raise DataError("not this")
        copy(batches, known)

    monkeypatch.setattr(flush, "copy", picky)
    async with relaying():
        bad = await machine.start(
            sandbox, f"echo before; {WAIT.format('one')}; echo poison; {WAIT.format('two')}; echo after"
        )
        good = await machine.start(sandbox, "for i in $(seq 60); do echo $i; sleep 0.02; done")
        await printed_something(bad)
        (machine.home / "one").touch()
        await until(Output.objects.filter(job=bad, stream=Output.Stream.NOTE).aexists)
        (machine.home / "two").touch()
        await ended(bad)
        await ended(good)
    found = await stored(bad)
    assert found["stdout"] == b"before\nafter\n"
    assert b"could not be stored" in found["note"]
    assert await stored(good) == truth(machine, good)


async def test_a_machine_that_is_gone_ends_the_job_as_lost(machine: Folder, sandbox: Sandbox) -> None:
    async with relaying():
        job = await machine.start(sandbox, "echo hello; sleep 60")
        await printed_something(job)
        machine.gone = True
        machine.followers[-1].kill()
        await ended(job)
    assert (job.status, job.reason) == ("lost", "lost")
    assert (await stored(job))["stdout"] == b"hello\n"


async def test_a_sleeping_machine_is_never_reached(machine: Folder, sandbox: Sandbox) -> None:
    async with relaying():
        job = await machine.start(sandbox, "echo one; sleep 1.5; echo two")
        await printed_something(job)
        await Sandbox.objects.filter(pk=sandbox.pk).aupdate(status="paused", running_since=None)
        await until(Job.objects.filter(pk=job.pk, lease_until=None).aexists)
        reached = len(machine.followers)
        await ended_in_spool(machine, job)
        assert len(machine.followers) == reached
        assert (await stored(job))["stdout"] == b"one\n"
        await Sandbox.objects.filter(pk=sandbox.pk).aupdate(status="running", running_since=timezone.now())
        await ended(job)
    assert await stored(job) == truth(machine, job)


async def test_output_beyond_the_cap_is_left_out_but_not_the_exit(
    machine: Folder, sandbox: Sandbox, settings: LazySettings
) -> None:
    settings.OUTPUT_CAP_BYTES = 200_000
    async with relaying():
        job = await ended(await machine.start(sandbox, "head -c 1000000 /dev/zero | tr '\\0' x; exit 7"))
    found = await stored(job)
    assert found["stdout"] == truth(machine, job)["stdout"][:200_000]
    assert found["note"].count(b"\n") == 1
    assert (job.exit_code, job.capped, job.bytes) == (7, True, 1_000_000)


async def test_a_spool_that_was_tampered_with_is_told_and_followed_to_its_end(
    machine: Folder, sandbox: Sandbox
) -> None:
    forged = [
        {"error": "not from the courier"},
        {"seq": 1, "t": 0, "stream": "stdout", "data": "AAAA"},
        {"seq": 9, "t": 1, "stream": "stdout", "data": base64.b64encode(b"nine\n").decode()},
        {"seq": 10, "t": 2, "exit": {"code": 2**40, "signal": None, "reason": "a\0b", "message": "\ud800\0",
                                    "seconds": 1e400}},
    ]  # fmt: skip
    job = await machine.start(sandbox, "echo one")
    await ended_in_spool(machine, job)
    lines = [line for line in machine.spool(job) if b'"exit"' not in line]
    lines += [json.dumps(line, separators=(",", ":")).encode() for line in forged]
    (machine.courier / "jobs" / str(job.pk) / "spool").write_bytes(b"\n".join(lines) + b"\n")
    async with relaying():
        await ended(job)
    found = await stored(job)
    assert found["stdout"] == b"one\nnine\n"
    assert b"damaged" in found["note"]
    assert b"7 records are missing" in found["note"]
    assert (job.exit_code, job.exit_reason, job.seconds) == (None, "ab", None)


async def test_a_job_whose_files_are_gone_is_given_up(
    machine: Folder, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "BACKOFF", (0.01, 0.02))
    job = await sync_to_async(Job.objects.create)(sandbox=sandbox, kind="turn", status="running")
    async with relaying():
        await ended(job)
    assert job.status == "lost"


async def ended_in_spool(machine: Folder, job: Job) -> None:
    """Until the courier has written the exit record."""
    await until(lambda: answer(any(b'"exit"' in line for line in machine.spool(job))))


async def answer(value: bool) -> bool:
    """A plain condition, to be awaited."""
    return value


async def test_a_relay_that_dies_in_mid_turn_loses_no_event_and_doubles_none(
    machine: Folder, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(AGENTS, "script", Plain())
    script = """for i in $(seq 150); do echo '{"kind": "count"}'; printf '{"kind": "te'; sleep 0.01
        echo 'xt", "data": {"text": "between"}}'; done; printf '{"kind": "count"}'"""
    job: Job | None = None
    for _ in range(3):
        async with relaying() as relay:
            job = job or await machine.start(sandbox, script)
            before = (await Job.objects.aget(pk=job.pk)).events
            await until(Job.objects.filter(pk=job.pk, events__gt=before + 20).aexists)
            # As after a kill: what was read and not stored is gone.
            monkeypatch.setattr(relay, "let_go", nothing)
        await Job.objects.filter(pk=job.pk).aupdate(lease_until=None)
    assert job
    async with relaying():
        job = await ended(job)
    events = [event async for event in Event.objects.filter(job=job).order_by("seq")]
    assert [event.seq for event in events] == list(range(1, 302))
    counted = [event.data["text"] for event in events if event.data["text"] != "between"]
    assert counted == [str(n) for n in range(1, 152)]
    assert (job.events, job.draft) == (301, {})


async def nothing() -> None:
    """In place of the last flush."""
