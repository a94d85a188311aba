"""How fast output travels: `uv run python -m tests.bench.output [--jobs N] [--viewers N]` prints JSON.

The real processes on a database of their own; each figure stands beside the raw SDK's on the same host in the same run.
"""

import argparse
import asyncio
import json
import os
import re
import struct
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
STATE = Path(tempfile.mkdtemp(prefix="courier-bench-"))
os.environ["TEST_STATE"] = str(STATE)

import django  # noqa: E402

django.setup()

import aiohttp  # noqa: E402
import psutil  # noqa: E402
from django.conf import settings  # noqa: E402
from django.test import Client  # noqa: E402
from e2b import E2B  # noqa: E402

from sandboxes import e2b, fleet  # noqa: E402
from sandboxes.models import Job, Sandbox  # noqa: E402
from tests import stack as stacks  # noqa: E402
from tests.bench.host import summary  # noqa: E402

CLICKS, LINES, GAP, FLOOD_MB = 12, 100, 0.05, 120
TICKER = """exec python3 -c '
import time
time.sleep(max(0, {start} - time.time()))
for number in range({lines}):
    print("L", time.time(), flush=True)
    time.sleep({gap})
'"""
FLOOD = f"yes 'a line of output that is printed as fast as it can be' | head -c {FLOOD_MB}000000"


class Bench:
    """One signed-in person on one project of a running stack."""

    def __init__(self, stack: stacks.Stack) -> None:
        self.stack = stack
        self.project, user = stack.project()
        client = Client()
        client.force_login(user)
        self.cookie = client.cookies["sessionid"].value
        self.path = f"/p/{self.project.slug}/sandboxes/"

    def session(self) -> aiohttp.ClientSession:
        """A browser of that person."""
        headers = {"Cookie": f"sessionid={self.cookie}", "Origin": self.stack.url}
        return aiohttp.ClientSession(headers=headers, cookie_jar=aiohttp.DummyCookieJar())

    def socket(self, session: aiohttp.ClientSession, path: str) -> Any:
        """A socket of the portal."""
        return session.ws_connect(f"{self.stack.url}/ws/p/{self.project.slug}/{path}", max_msg_size=0)

    def launch(self, script: str, count: int = 1) -> list[Sandbox]:
        """Sandboxes that run a script."""
        return [self.stack.launch(self.project, script, memory_mb=256, cpu=1) for _ in range(count)]

    def running(self, sandboxes: list[Sandbox]) -> list[Job]:
        """The jobs of their turns, once all of them run."""
        jobs = Job.objects.filter(kind="turn", sandbox__in=sandboxes)
        stacks.wait_for(lambda: jobs.exclude(status="starting").count() == len(sandboxes), "the turns to run", 300)
        return list(jobs)

    def end(self, sandboxes: list[Sandbox]) -> None:
        """All machines gone."""
        for sandbox in sandboxes:
            sandbox.refresh_from_db()
            fleet.stop(sandbox, None)
        gone = Sandbox.objects.filter(pk__in=[one.pk for one in sandboxes], released_at=None)
        stacks.wait_for(lambda: not gone.exists(), "the machines to be gone", 120)


async def watch(bench: Bench, session: aiohttp.ClientSession, job: int, seen: Callable[[bytes], None]) -> None:
    """Take a job's output as the page does, acknowledging it, until its end."""
    async with bench.socket(session, f"jobs/{job}/output/?after=0") as socket:
        async for message in socket:
            if message.type == aiohttp.WSMsgType.BINARY:
                seen(message.data[16:])
                await socket.send_str(json.dumps({"ack": struct.unpack(">QQ", message.data[:16])[1]}))
            elif "end" in message.data:
                return


def lateness(into: list[float]) -> Callable[[bytes], None]:
    """Takes chunks of ticker output and notes how late each line is, in seconds."""
    rest = b""

    def seen(data: bytes) -> None:
        nonlocal rest
        now = time.time()
        *lines, rest = (rest + data).split(b"\n")
        into.extend(now - float(line.split()[1]) for line in lines if line.startswith(b"L "))

    return seen


async def clicks(bench: Bench) -> list[float]:
    """From the click on Start sandbox to the first byte of output on the page's socket."""
    return [await click(bench) for _ in range(CLICKS)]


async def click(bench: Bench) -> float:
    """One click, with the machine pool filled before it."""
    await asyncio.sleep(1)
    async with bench.session() as session:
        async with session.get(f"{bench.stack.url}{bench.path}new/") as answer:
            page = await answer.text()
            token = answer.cookies["csrftoken"].value
        data = {**fields(page), "prompt": "echo hi; sleep 2", "csrfmiddlewaretoken": token}
        headers = {"Cookie": f"sessionid={bench.cookie}; csrftoken={token}", "Referer": bench.stack.url}
        began = time.perf_counter()
        async with session.post(
            f"{bench.stack.url}{bench.path}new/", data=data, headers=headers, allow_redirects=False
        ) as answer:
            found = re.search(r"/sandboxes/(\d+)/", answer.headers.get("Location", ""))
            if not found:
                raise RuntimeError(f"The form was not taken: {answer.status}")
        taken = await first_byte(bench, session, int(found[1]), began)
    await asyncio.to_thread(bench.end, [await Sandbox.objects.aget(pk=int(found[1]))])
    return taken


def fields(page: str) -> dict[str, str]:
    """The form as it stands."""
    inputs = re.findall(r'<input[^>]*name="([^"]+)"[^>]*?(?:value="([^"]*)")?[^>]*>', page)
    template = re.search(r'<option value="(\d+)"[^>]*>Script<', page)
    chosen = dict(inputs) | {"template": template[1] if template else "", "effort": ""}
    values = {name: re.search(rf'name="{name}" value="([^"]*)"', page) for name in chosen}
    return {name: match[1] if (match := values[name]) else chosen[name] for name in chosen}


async def first_byte(bench: Bench, session: aiohttp.ClientSession, sandbox: int, began: float) -> float:
    """Wait on the page's own socket for the turn, then on its output's for the first byte."""
    async with bench.socket(session, f"sandboxes/{sandbox}/") as page:
        async for message in page:
            found = re.search(rb"jobs/(\d+)/output/", str(message.data).encode())
            if found:
                break
    async with bench.socket(session, f"jobs/{int(found[1])}/output/?tail=1") as socket:  # type: ignore[index]
        async for message in socket:
            if message.type == aiohttp.WSMsgType.BINARY:
                return time.perf_counter() - began
    raise RuntimeError("The output ended without a byte")


async def lines(bench: Bench, jobs: int, viewers: int) -> dict[str, Any]:
    """How late printed lines are at their viewers."""
    start = time.time() + (3 if jobs == 1 else 15 + jobs * 0.6)
    sandboxes = await asyncio.to_thread(
        bench.launch, TICKER.format(start=start, lines=LINES if jobs == 1 else 300, gap=GAP), jobs
    )
    turns = await asyncio.to_thread(bench.running, sandboxes)
    if time.time() > start:
        raise SystemExit(f"{jobs} turns took longer to start than their lines waited: this machine has too much to do.")
    late: list[float] = []
    async with bench.session() as session:
        watchers = [watch(bench, session, turns[n % jobs].pk, lateness(late)) for n in range(viewers)]
        gathered = asyncio.ensure_future(asyncio.gather(*watchers))
        await asyncio.sleep(max(0, start - time.time()) + 2)
        used = await cpu_of(bench.stack, 3 if jobs == 1 else 10)
        await gathered
    await asyncio.to_thread(bench.end, sandboxes)
    late.sort()
    figures = {"p99_ms": round(late[int(len(late) * 0.99)] * 1000, 1), "max_ms": round(late[-1] * 1000, 1)}
    return {"jobs": jobs, "viewers": viewers, **summary(late), **figures, "cores_used": used}


async def cpu_of(stack: stacks.Stack, seconds: float) -> dict[str, float]:
    """Share of a core that each process with its children uses over a while; what runs in sandboxes stands apart."""
    before = cpu(stack)
    await asyncio.sleep(seconds)
    return {name: round((used - before[name]) / seconds, 2) for name, used in cpu(stack).items()}


def cpu(stack: stacks.Stack) -> dict[str, float]:
    """CPU seconds so far of the product's processes, of this one, and of everything in sandboxes that lives."""
    families = {name: psutil.Process(process.pid) for name, process in stack.processes.items()}
    inside = {name: process.children(recursive=True) for name, process in families.items()}
    found = {name: seconds_of(process, *inside[name]) for name, process in families.items() if name != "host"}
    own = {"host": seconds_of(families["host"]), "sandboxes": seconds_of(*inside["host"])}
    return {**found, **own, "bench": seconds_of(psutil.Process())}


def seconds_of(*processes: psutil.Process) -> float:
    """CPU seconds together; one that has ended meanwhile counts for nothing."""
    total = 0.0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            total += sum(process.cpu_times()[:2])
    return total


def raw_lines() -> list[float]:
    """The same ticker through the SDK alone."""
    late: list[float] = []
    seen, machine = lateness(late), raw_machine()
    script = TICKER.format(start=0, lines=LINES, gap=GAP)
    machine.commands.run(script, timeout=60, on_stdout=lambda text: seen(text.encode()))
    machine.kill()
    return late


def raw_machine() -> Any:
    """A machine from the SDK, no product around it."""
    provider = e2b.local_provider()
    client = E2B(api_key=provider.api_key, api_url=provider.api_url, sandbox_url=provider.sandbox_url)
    return client.Sandbox.create("script-1c-256m", timeout=300)


def raw_clicks() -> list[float]:
    """Create to first output through the SDK alone."""
    taken = []
    for _ in range(CLICKS):
        time.sleep(1)
        began = time.perf_counter()
        machine = raw_machine()
        next(iter(machine.commands.run("echo hi", background=True)))
        taken.append(time.perf_counter() - began)
        machine.kill()
    return taken


async def flood(bench: Bench) -> dict[str, Any]:
    """One turn that prints as fast as it can, with one viewer from the start."""
    web = psutil.Process(bench.stack.processes["web"].pid)
    before, peak, got = web.memory_info().rss, 0, 0

    def seen(data: bytes) -> None:
        nonlocal got, peak
        got += len(data)
        peak = max(peak, web.memory_info().rss)

    sandboxes = await asyncio.to_thread(bench.launch, FLOOD)
    (job,) = await asyncio.to_thread(bench.running, sandboxes)
    began = time.perf_counter()
    async with bench.session() as session:
        await watch(bench, session, job.pk, seen)
    caught_up = time.perf_counter() - began
    await job.arefresh_from_db()
    turn = await sandboxes[0].turns.aget()
    stored = ((job.ended_at or job.created_at) - (turn.started_at or job.created_at)).total_seconds()
    await asyncio.to_thread(bench.end, sandboxes)
    return {
        "stored_mb_s": round(job.bytes / stored / 1e6, 1),
        "viewer_mb": round(got / 1e6, 1),
        "viewer_done_after_s": round(caught_up, 1),
        "web_rss_mb": [round(before / 1e6), round(peak / 1e6)],
    }


def raw_flood() -> float:
    """MB/s of the same command through the SDK alone."""
    machine, got = raw_machine(), 0

    def seen(text: str) -> None:
        nonlocal got
        got += len(text)

    began = time.perf_counter()
    machine.commands.run(FLOOD, timeout=120, on_stdout=seen, retain_output=False)
    taken = time.perf_counter() - began
    machine.kill()
    return round(got / taken / 1e6, 1)


async def status(bench: Bench, pages: int = 10) -> list[float]:
    """From a person's Pause or Resume to the changed fragment on every open page."""
    (sandbox,) = await asyncio.to_thread(bench.launch, "echo hi; sleep 300")
    await asyncio.to_thread(bench.running, [sandbox])
    taken: list[float] = []
    async with bench.session() as session:
        sockets = [
            await bench.socket(session, f"sandboxes/{sandbox.pk if n % 2 else ''}{'/' if n % 2 else ''}")
            for n in range(pages)
        ]
        for verb, word in (("pause", "Paused"), ("wake", "Running")) * 3:
            await asyncio.sleep(2)
            for socket in sockets:
                await drain(socket)
            waiting = [asyncio.ensure_future(until_said(socket, word)) for socket in sockets]
            await asyncio.to_thread(getattr(fleet, verb), await Sandbox.objects.aget(pk=sandbox.pk), None)
            moved = await asyncio.to_thread(moved_at, sandbox, word.lower())
            taken += [max(0.0, at - moved) for at in await asyncio.gather(*waiting)]
    await asyncio.to_thread(bench.end, [sandbox])
    return taken


def moved_at(sandbox: Sandbox, to: str) -> float:
    """When the row last went to a status."""
    last = stacks.wait_for(lambda: Sandbox.objects.filter(pk=sandbox.pk, status=to).first(), to)
    return last.status_at.timestamp()


async def drain(socket: aiohttp.ClientWebSocketResponse) -> None:
    """What came before."""
    try:
        while True:
            await socket.receive(timeout=0.05)
    except TimeoutError:
        return


async def until_said(socket: aiohttp.ClientWebSocketResponse, word: str) -> float:
    """When a fragment with the word came."""
    while word not in str((await socket.receive(timeout=30)).data):
        continue
    return time.time()


def one_by_one(bench: Bench, report: dict[str, Any], run: Callable[[str, Callable[[], Awaitable[Any]]], None]) -> None:
    """Each figure with little else going on, and the raw SDK's right after it."""
    run("click_to_first_output", lambda: clicks(bench))
    report["click_to_first_output"] = summary(report["click_to_first_output"])
    report["raw_sdk_create_to_first_output"] = summary(raw_clicks())
    run("line_to_viewer", lambda: lines(bench, 1, 1))
    report["raw_sdk_line"] = summary(raw_lines())
    run("status_to_pages", lambda: status(bench))
    report["status_to_pages"] = summary(report["status_to_pages"])
    run("flood", lambda: flood(bench))
    report["raw_sdk_flood_mb_s"] = raw_flood()


def main() -> None:
    """Each figure by itself, or with --jobs the load test alone."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument(
        "--jobs", type=int, default=0, help="run the load test with so many turns at once, and only it"
    )
    options.add_argument("--viewers", type=int, default=100)
    chosen = options.parse_args()
    settings.STATE = STATE
    report: dict[str, Any] = {"load_before": os.getloadavg()[0]}
    with stacks.running(STATE, OUTPUT_CAP_MB="256", LOCAL_MAX_RUNNING=str(max(20, chosen.jobs))) as stack:
        bench = Bench(stack)

        def run(name: str, work: Callable[[], Awaitable[Any]]) -> None:
            report[name] = asyncio.run(work())  # type: ignore[arg-type]
            sys.stderr.write(f"{name}: {report[name]}\n")

        if chosen.jobs:
            run("load", lambda: lines(bench, chosen.jobs, chosen.viewers))
        else:
            one_by_one(bench, report, run)
    report["load_after"] = os.getloadavg()[0]
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
