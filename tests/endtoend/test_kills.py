"""Nothing is lost: each process is killed while output runs, and what is stored is the redacted spool."""

import asyncio
from collections.abc import Iterator

import aiohttp
import psutil
import pytest
from django.db import connection
from django.utils import timezone

from codecourier import postgres
from codecourier.models import Project, Variable
from codecourier.redact import Redactor, redact_spool
from codecourier.restart import RESTART
from sandboxes import e2b, fleet, turns
from sandboxes.models import Job, Output, Sandbox, Turn
from tests.conftest import signed_in
from tests.endtoend.conftest import end, printed, status_of, turn_of
from tests.stack import Stack, wait_for

# Numbered lines at a steady pace, a burst, a secret cut in two, both streams.
SCRIPT = """
for i in $(seq 1 60); do
  echo "line $i"; [ $((i % 7)) = 0 ] && echo "error $i" >&2
  [ $((i % 20)) = 0 ] && head -c 200000 /dev/urandom | base64
  [ $((i % 15)) = 0 ] && { printf 'secret: %s' "${TOKEN:0:9}"; sleep 0.05; echo "${TOKEN:9}"; }
  sleep 0.05
done
echo end
"""
# For as long as it takes to kill everything, and until it is told to end.
LONG = SCRIPT.replace("$(seq 1 60)", "$(seq 1 100000)").replace("sleep 0.05", "[ -e /tmp/enough ] && break; sleep 0.05")
TOKEN = "tok3n-canary-0123456789"


@pytest.fixture
def project(stack: Stack) -> Project:
    """A project with a secret."""
    project, _ = stack.project()
    Variable.objects.create(project=project, name="TOKEN", value=TOKEN, secret=True)
    return project


def printing(sandbox: Sandbox) -> Job:
    """Its job, once some of its output is stored."""

    def some() -> Job | None:
        job = Job.objects.filter(sandbox=sandbox, kind="turn", seq__gte=3).first()
        return job if job and not job.final else None

    return wait_for(some, f"sandbox {sandbox.pk} to print")


def kill(stack: Stack, *names: str) -> None:
    """kill -9, and started again."""
    for name in names:
        if name == "postgres":
            connection.close()
            stack.kill_postgres()
            postgres.ensure(stack.state)
        else:
            stack.kill(name)
    stack.start(*(name for name in names if name != "postgres"))


def more_of(job: Job) -> None:
    """Wait until more of its output is stored than there is now."""
    seq = Job.objects.get(pk=job.pk).seq
    wait_for(Job.objects.filter(pk=job.pk, seq__gt=seq).exists, f"more output of job {job.pk}")


def machine_of(sandbox: Sandbox) -> e2b.Machine:
    """Its machine."""
    sandbox.refresh_from_db()
    return e2b.connect(e2b.provider_of(sandbox.project), sandbox.provider_id)


def spool_lines(sandbox: Sandbox, job: Job) -> Iterator[bytes]:
    """The job's spool, read from its machine."""
    yield from machine_of(sandbox).read(f"/home/user/.courier/jobs/{job.pk}/spool", "read the spool").splitlines()


def check_complete(sandbox: Sandbox, turn: Turn) -> None:
    """Stored is redact(spool), without a gap, without a double, and the turn ended right."""
    job = turn.job
    assert job
    assert turn.status == "succeeded", turn.detail
    expected = redact_spool(spool_lines(sandbox, job), Redactor(sandbox.project.secrets()))
    for stream in (Output.Stream.STDOUT, Output.Stream.STDERR):
        assert printed(job, stream) == expected[str(stream.label)], f"{stream.label} differs"
    seqs = list(Output.objects.filter(job=job).order_by("seq").values_list("seq", flat=True))
    assert seqs == list(range(1, len(seqs) + 1))
    assert b"canary" not in printed(job)
    assert b"end\n" in printed(job)[-20:]


def test_of_a_worker_whose_first_process_is_killed_nothing_lives_on(stack: Stack) -> None:
    inside = psutil.Process(stack.processes["worker"].pid).children(recursive=True)
    assert inside
    stack.kill("worker", alone=True)
    assert psutil.wait_procs(inside, timeout=20)[1] == []
    stack.start("worker")


def test_a_second_relay_takes_over_within_its_lease(stack: Stack, project: Project) -> None:
    sandbox = stack.launch(project, SCRIPT)
    job = printing(sandbox)
    stack.start("relay2")
    stack.kill("relay")
    died = timezone.now()

    def taken() -> bool:
        job.refresh_from_db()
        return job.final or (job.lease_epoch > 1 and job.output_at is not None and job.output_at > died)

    epoch = Job.objects.get(pk=job.pk).lease_epoch
    assert epoch >= 1
    wait_for(taken, "the second relay to go on")
    check_complete(sandbox, turn_of(sandbox))
    stack.start("relay")
    stack.kill("relay2")
    end(sandbox)


@pytest.mark.long
def test_nothing_is_lost_when_every_process_is_killed_in_turn(stack: Stack, project: Project) -> None:
    sandbox = stack.launch(project, LONG)
    job = printing(sandbox)
    for names in (["relay"], ["host"], ["web", "worker"], ["postgres"]):
        kill(stack, *names)
        more_of(job)
    machine_of(sandbox).run("touch /tmp/enough", "have the script end")
    check_complete(sandbox, turn_of(sandbox))
    end(sandbox)


async def closed_with(stack: Stack, path: str, cookie: str) -> int | None:
    """The code with which the web process closes a socket of a page when it is told to end."""
    headers = {"Cookie": f"sessionid={cookie}", "Origin": stack.url}
    async with (
        aiohttp.ClientSession(headers=headers, cookie_jar=aiohttp.DummyCookieJar()) as session,
        session.ws_connect(f"{stack.url}{path}") as socket,
    ):
        await socket.receive()
        stack.processes["web"].terminate()
        async for _ in socket:
            continue
        return socket.close_code


def test_a_web_process_that_is_told_to_end_has_browsers_come_back(stack: Stack) -> None:
    project, owner = stack.project()
    cookie = signed_in(owner).cookies["sessionid"].value
    assert asyncio.run(closed_with(stack, f"/ws/p/{project.slug}/", cookie)) == RESTART
    assert stack.processes["web"].wait(30) == 0
    stack.kill("web")


@pytest.mark.long
def test_a_worker_killed_inside_the_boot_costs_seconds_not_the_sandbox(stack: Stack, project: Project) -> None:
    steps = ["create", "setup-script", "inject"]
    made = [stack.launch(project, "echo done", setup_script="echo set up") for _ in steps]
    for sandbox, step in zip(made, steps, strict=True):
        wait_for(sandbox.phases.filter(name=step).exclude(status="waiting").exists, f"phase {step}")
        stack.kill("worker")
        stack.start("worker")
    for sandbox in made:
        turn = turn_of(sandbox)
        assert turn.status == "succeeded", turn.detail
        assert printed(turn.job) == b"done\n"
        end(sandbox)


def test_a_worker_that_lost_its_inside_ends_to_be_started_again(stack: Stack) -> None:
    worker = stack.processes["worker"]
    inside = wait_for(psutil.Process(worker.pid).children, "the worker's own processes")
    inside[0].kill()
    assert worker.wait(30) is not None
    stack.kill("worker")


def test_a_supervisor_killed_in_the_machine_ends_its_turn_with_the_reason(stack: Stack, project: Project) -> None:
    sandbox = stack.launch(project, "echo one; sleep 0.3; kill -9 $PPID; sleep 30")
    turn = turn_of(sandbox)
    assert turn.status == "failed"
    assert "courier" in turn.detail
    assert printed(turn.job) == b"one\n"
    end(sandbox)


def test_stop_saves_what_was_printed_and_leaves_nothing(stack: Stack, project: Project) -> None:
    sandbox = stack.launch(project, "trap 'echo saved; exit 0' TERM; echo working; while :; do sleep 0.05; done")
    job = wait_for(lambda: Job.objects.filter(sandbox=sandbox, kind="turn", seq__gte=1).first(), "output")
    fleet.stop(sandbox, None)
    status_of(sandbox, "killed")
    assert printed(job, Output.Stream.STDOUT) == b"working\nsaved\n"
    turn = turn_of(sandbox)
    assert (turn.status, turn.reason) == ("interrupted", "interrupted")
    place = e2b.local_provider()
    wait_for(
        lambda: sandbox.provider_id not in {machine.id for machine in e2b.machines(place)}, "its machine to be gone"
    )


def test_a_second_stop_does_not_wait(stack: Stack, project: Project) -> None:
    sandbox = stack.launch(project, "trap '' TERM; echo working; while :; do sleep 0.05; done")
    wait_for(lambda: Job.objects.filter(sandbox=sandbox, kind="turn", seq__gte=1).exists(), "output")
    fleet.stop(sandbox, None)
    fleet.stop(sandbox, None)
    status_of(sandbox, "killed")
    assert sandbox.reason == "user"


def test_interrupt_stops_the_turn_and_keeps_the_machine(stack: Stack, project: Project) -> None:
    sandbox = stack.launch(project, "echo working; sleep 300")
    wait_for(lambda: Job.objects.filter(sandbox=sandbox, kind="turn", seq__gte=1).exists(), "output")
    turns.interrupt(sandbox, None)
    turn = turn_of(sandbox)
    assert turn.status == "interrupted"
    assert sandbox.status == "running"
    end(sandbox)


def test_a_turn_goes_on_after_a_pause(stack: Stack, project: Project) -> None:
    sandbox = stack.launch(project, SCRIPT)
    printing(sandbox)
    sandbox.refresh_from_db()
    fleet.pause(sandbox, None)
    status_of(sandbox, "paused")
    fleet.wake(sandbox, None)
    check_complete(sandbox, turn_of(sandbox))
    end(sandbox)
