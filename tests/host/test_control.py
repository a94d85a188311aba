"""The REST API through the real SDK: made, found, timed, paused, ended."""

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import e2b
import httpx
import pytest

from tests.host.hosts import HostProcess, eventually


def listed(host: HostProcess, **more: Any) -> list[str]:
    """The ids of every page."""
    pages = host.sdk().Sandbox.list(**more)
    found: list[str] = []
    while pages.has_next:
        found += [info.sandbox_id for info in pages.next_items()]
    return found


def test_a_command_runs_in_a_new_sandbox(sandbox: Any) -> None:
    assert sandbox.commands.run("echo $((6 * 7))").stdout == "42\n"


async def test_the_async_sdk_works_too(host: HostProcess) -> None:
    made = await host.sdk().AsyncSandbox.create("script")
    lines: list[str] = []
    result = await made.commands.run("echo one; echo two >&2", on_stdout=lines.append, on_stderr=lines.append)
    assert result.exit_code == 0
    assert sorted("".join(lines).split()) == ["one", "two"]
    assert await made.kill() is True


def test_size_comes_from_the_template_name_and_metadata_wins(host: HostProcess) -> None:
    named = host.create("script-4c-512m")
    chosen = host.create("script-4c-512m", metadata={"cpu": "1", "memory_mb": "768"})
    assert (named.get_info().cpu_count, named.get_info().memory_mb) == (4, 512)
    assert (chosen.get_info().cpu_count, chosen.get_info().memory_mb) == (1, 768)
    named.kill()
    chosen.kill()


def test_environment_and_metadata_are_kept(host: HostProcess) -> None:
    made = host.create(envs={"COLOUR": "a=b c"}, metadata={"who": "mia"})
    assert made.commands.run('printf %s "$COLOUR"').stdout == "a=b c"
    assert made.get_info().metadata == {"who": "mia"}
    made.kill()


def test_the_same_idempotency_key_makes_one_sandbox(host: HostProcess) -> None:
    key = str(uuid.uuid4())
    with ThreadPoolExecutor(3) as pool:
        answers = list(
            pool.map(
                lambda _: host.call("POST", "/v2/sandboxes", {"templateID": "script"}, Idempotency_Key=key), range(3)
            )
        )
    assert {status for status, _ in answers} == {201}
    assert len({answer["sandboxID"] for _, answer in answers}) == 1
    status, answer = host.call("POST", "/v2/sandboxes", {"templateID": "base"}, Idempotency_Key=key)
    assert status == 409
    assert "different request" in answer["message"]
    host.call("DELETE", f"/sandboxes/{answers[0][1]['sandboxID']}")


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"templateID": "windows"}, 404, "unknown here"),
        ({}, 400, "templateID is missing"),
        ({"templateID": "script-99c-512m"}, 400, "cpu must be a whole number from 1 to 8"),
        ({"templateID": "script", "metadata": {"memory_mb": "lots"}}, 400, "memory_mb must be"),
        ({"templateID": "script", "timeout": -1}, 400, "timeout must be"),
        ({"templateID": "script", "metadata": {"a": 1}}, 400, "values are strings"),
        ({"templateID": "script", "network": {"denyOut": ["example.com"]}}, 400, "addresses and ranges only"),
        ({"templateID": "script", "volumeMounts": [{"name": "v", "path": "/v"}]}, 501, "volumes"),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(host: HostProcess, body: Any, status: int, words: str) -> None:
    code, answer = host.call("POST", "/v2/sandboxes", body)
    assert (code, answer["code"]) == (status, status)
    assert words in answer["message"]


def test_what_is_not_built_says_so(host: HostProcess, sandbox: Any) -> None:
    for method, path in [("POST", f"/sandboxes/{sandbox.sandbox_id}/fork"), ("GET", "/volumes"), ("GET", "/secrets")]:
        status, answer = host.call(method, path, {} if method == "POST" else None)
        assert status == 501
        assert "not available" in answer["message"]


def test_a_wrong_key_is_refused(host: HostProcess) -> None:
    status, answer = host.call("GET", "/v2/sandboxes", X_API_KEY="e2b_" + "0" * 40)
    assert status == 401
    assert answer["code"] == 401


@pytest.fixture
def three(host: HostProcess) -> Iterator[list[Any]]:
    """Three sandboxes of one kind, the oldest first."""
    made = [host.create("codex", metadata={"group": "three & more", "n": str(n)}) for n in range(3)]
    yield made
    for one in made:
        one.kill()


def test_lists_are_filtered_ordered_and_paged(host: HostProcess, three: list[Any]) -> None:
    ids = [one.sandbox_id for one in three]
    ours = e2b.SandboxQuery(metadata={"group": "three & more"})
    assert listed(host, query=ours, limit=2, order="asc") == ids
    assert listed(host, query=ours, limit=1) == ids[::-1]
    assert listed(host, query=e2b.SandboxQuery(metadata={"group": "three & more", "n": "1"})) == [ids[1]]
    assert listed(host, query=e2b.SandboxQuery(template="codex"), order="asc") == ids
    assert listed(host, query=e2b.SandboxQuery(template="unknown")) == []


def test_started_after_is_inclusive_to_the_microsecond(host: HostProcess, three: list[Any]) -> None:
    start = three[1].get_info().started_at
    inclusive = e2b.SandboxQuery(template="codex", started_after=start)
    later = e2b.SandboxQuery(template="codex", started_after=start + timedelta(microseconds=1))
    assert listed(host, query=inclusive, order="asc") == [one.sandbox_id for one in three[1:]]
    assert listed(host, query=later) == [three[2].sandbox_id]


def test_a_page_goes_on_after_the_sandbox_it_ended_with_is_gone(host: HostProcess, three: list[Any]) -> None:
    pages = host.sdk().Sandbox.list(query=e2b.SandboxQuery(template="codex"), limit=1, order="asc")
    assert [info.sandbox_id for info in pages.next_items()] == [three[0].sandbox_id]
    three[0].kill()
    assert [info.sandbox_id for info in pages.next_items()] == [three[1].sandbox_id]


def test_lists_show_paused_ones_by_state(host: HostProcess, three: list[Any]) -> None:
    three[0].pause()
    paused = e2b.SandboxQuery(template="codex", state=[e2b.SandboxState.PAUSED])
    running = e2b.SandboxQuery(template="codex", state=[e2b.SandboxState.RUNNING])
    assert listed(host, query=paused) == [three[0].sandbox_id]
    assert listed(host, query=running, order="asc") == [one.sandbox_id for one in three[1:]]


def test_time_runs_out_within_a_second(host: HostProcess) -> None:
    made = host.create(timeout=1)
    end = made.get_info().end_at.timestamp()

    def over() -> bool:
        try:
            return not made.is_running()
        except httpx.RemoteProtocolError:
            return True  # It ended while it was asked.

    eventually(over)
    assert 0 <= time.time() - end < 1
    assert eventually(lambda: host.reason(made.sandbox_id)) == "timeout"


def test_set_timeout_may_shorten_and_connect_only_extends(host: HostProcess, sandbox: Any) -> None:
    sandbox.set_timeout(500)
    long = sandbox.get_info().end_at
    host.sdk().Sandbox.connect(sandbox.sandbox_id, timeout=100)
    assert sandbox.get_info().end_at == long
    host.sdk().Sandbox.connect(sandbox.sandbox_id, timeout=900)
    assert sandbox.get_info().end_at > long
    sandbox.set_timeout(50)
    assert sandbox.get_info().end_at < long


def test_kill_is_seen_by_a_running_command(host: HostProcess) -> None:
    made = host.create()
    command = made.commands.run("echo up; sleep 60", background=True)
    assert next(iter(command))[0] == "up\n"
    assert made.kill() is True
    assert made.kill() is False
    with pytest.raises(e2b.SandboxNotRunningException):
        command.wait()
    assert not made.is_running()
    with pytest.raises(e2b.SandboxNotFoundException):
        made.get_info()
    assert host.reason(made.sandbox_id) == "killed"


def test_pause_keeps_the_processes(host: HostProcess, sandbox: Any) -> None:
    sandbox.commands.run("n=0; while :; do n=$((n+1)); echo $n > ~/count; sleep 0.05; done", background=True)
    eventually(lambda: sandbox.files.exists("count"))
    assert sandbox.pause() is True
    assert sandbox.pause() is False
    assert not sandbox.is_running()
    assert sandbox.get_info().state is e2b.SandboxState.PAUSED
    root = Path(f"/proc/{host.record(sandbox.sandbox_id)['init'][0]}/root")
    before = int((root / "home/user/count").read_text() or 0)
    resumed = host.sdk().Sandbox.connect(sandbox.sandbox_id, timeout=60)
    assert resumed.get_info().state is e2b.SandboxState.RUNNING
    eventually(lambda: int(resumed.files.read("count") or 0) > before)


def test_time_does_not_run_out_while_paused(host: HostProcess) -> None:
    made = host.create(timeout=1)
    made.pause()
    end = made.get_info().end_at.timestamp()
    eventually(lambda: time.time() > end + 0.3)
    assert made.get_info().state is e2b.SandboxState.PAUSED
    made.connect(timeout=30)
    assert made.commands.run("echo back").stdout == "back\n"
    made.kill()


def test_a_sandbox_can_be_paused_by_its_timeout(host: HostProcess) -> None:
    made = host.create(timeout=1, lifecycle={"on_timeout": "pause"})
    eventually(lambda: made.get_info().state is e2b.SandboxState.PAUSED)
    made.kill()


def test_traffic_wakes_a_paused_sandbox_that_asked_for_it(host: HostProcess) -> None:
    made = host.create(lifecycle={"on_timeout": "pause", "auto_resume": True})
    made.pause()
    assert made.commands.run("echo awake").stdout == "awake\n"
    made.kill()


def test_metrics_honour_start_and_end(host: HostProcess, sandbox: Any) -> None:
    samples = eventually(lambda: len(found := sandbox.get_metrics()) > 3 and found)
    first = samples[0]
    assert first.cpu_count == 2
    assert first.mem_total == 1024 << 20
    assert 0 < first.mem_used < first.mem_total
    assert 0 < first.disk_total <= 300 << 20
    late = eventually(
        lambda: [one for one in sandbox.get_metrics() if one.timestamp.timestamp() > first.timestamp.timestamp() + 1.2]
    )
    start = late[-1].timestamp
    assert all(one.timestamp >= start.replace(microsecond=0) for one in sandbox.get_metrics(start=start))
    assert sandbox.get_metrics(end=start - timedelta(days=1)) == []


def test_a_kill_beats_a_pause_at_the_same_moment(host: HostProcess) -> None:
    def contest(_: int) -> tuple[bool, str]:
        made = host.create()
        with ThreadPoolExecutor(1) as second:
            pausing = second.submit(host.call, "POST", f"/sandboxes/{made.sandbox_id}/pause", {})
            killed = made.kill()
            status, _answer = pausing.result()
        assert status in (204, 404)
        return killed, host.reason(made.sandbox_id)

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(contest, range(8))) == {(True, "killed")}
