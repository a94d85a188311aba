"""Streams as bytes on the wire: keepalives, slow readers, errors of the protocol."""

import base64
import contextlib
import json
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sandboxes.host.envd import output
from tests.host.envd.harness import TOKEN, Daemon, until


def test_silence_is_filled_with_keepalives(daemon: Daemon) -> None:
    stream = daemon.start("sleep 70", headers={"keepalive_ping_interval": "1"})
    pid = stream.pid()
    assert stream.next() == {"event": {"keepalive": {}}}
    daemon.rpc("process.Process/SendSignal", {"process": {"pid": pid}, "signal": 9})


def test_a_chunk_is_at_most_32_kib(daemon: Daemon) -> None:
    stream = daemon.start("head -c 500000 /dev/zero")
    stream.pid()
    sizes = [len(base64.b64decode(m["event"]["data"]["stdout"])) for m in stream if "data" in m["event"]]
    assert sum(sizes) == 500_000
    assert max(sizes) <= output.PIPE_CHUNK


def test_a_slow_reader_slows_the_process_and_loses_nothing(daemon: Daemon) -> None:
    mark = daemon.home / "slow-done"
    stream = daemon.start(f"head -c 20000000 /dev/zero; touch {mark}")
    pid = stream.pid()
    status = Path(f"/proc/{daemon.process.pid}/status")
    wchan = Path(f"/proc/{pid}/task/{pid}/children")
    until(lambda: "pipe" in _sleeps_in(wchan.read_text().split()), "the writer is held up")
    assert not mark.exists()
    assert int(status.read_text().split("VmRSS:")[1].split()[0]) < 100_000
    assert len(stream.output()) == 20_000_000
    assert mark.exists()


def _sleeps_in(pids: list[str]) -> str:
    with contextlib.suppress(OSError):
        return " ".join(Path(f"/proc/{pid}/wchan").read_text() for pid in pids)
    return ""


def test_a_reader_that_stands_still_is_cut_off_and_the_process_goes_on(
    start_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    daemon = start_daemon(prelude="output.STALL_SECONDS = processes.STALL_SECONDS = 0.3")
    daemon.init()
    mark = tmp_path / "went-on"
    stream = daemon.start(f"head -c 20000000 /dev/zero; touch {mark}; sleep 0.1")
    stream.pid()
    until(mark.exists, "the process finished without its reader")
    assert len(stream.output()) < 20_000_000
    assert stream.error is not None
    assert stream.error["code"] == "aborted"


def test_output_without_any_reader_is_dropped(daemon: Daemon) -> None:
    gate, mark = daemon.home / "gate", daemon.home / "unread-done"
    os.mkfifo(gate)
    stream = daemon.start(f"read < {gate}; head -c 20000000 /dev/zero; touch {mark}; sleep 71")
    pid = stream.pid()
    stream.close()
    gate.write_text("\n")
    until(mark.exists, "the process wrote all")
    daemon.rpc("process.Process/SendSignal", {"process": {"pid": pid}, "signal": 9})


def test_a_leaving_reader_frees_a_held_process(daemon: Daemon) -> None:
    mark = daemon.home / "freed"
    stream = daemon.start(f"head -c 20000000 /dev/zero; touch {mark}")
    stream.pid()
    stream.close()
    until(mark.exists, "the process went on")


def test_the_end_of_a_finished_process_is_forgotten_in_time(start_daemon: Callable[..., Daemon]) -> None:
    daemon = start_daemon(prelude="processes.REMEMBER_SECONDS = 0.2")
    daemon.init()
    stream = daemon.start("exit 4")
    selector = {"process": {"pid": stream.pid()}}
    list(stream)

    def connect() -> str:
        again = daemon.stream("process.Process/Connect", selector)
        list(again)
        return again.error["code"] if again.error else ""

    assert until(connect, "the process is forgotten") == "not_found"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "no message"),
        (b"\0\0\0", "inside an envelope"),
        (struct.pack(">BI", 0, 9) + b"{}", "inside a message"),
        (struct.pack(">BI", 0, 3) + b"{]}", "not JSON"),
        (struct.pack(">BI", 0, 2) + b"[]", "JSON object"),
        (struct.pack(">BI", 1, 2) + b"{}", "uncompressed"),
        (struct.pack(">BI", 0, 2**31) + b"{}", "uncompressed and at most"),
    ],
)
def test_a_malformed_stream_is_told_why(daemon: Daemon, body: bytes, told: str) -> None:
    headers = {"content_type": "application/connect+json", "x_access_token": TOKEN}
    status, answer, _ = daemon.request("POST", "/process.Process/Start", body, **headers)
    error = json.loads(answer[5:])["error"]
    assert (status, answer[0], error["code"]) == (200, 2, "invalid_argument")
    assert told in error["message"]


@pytest.mark.parametrize(
    ("body", "told"), [(b"{", "not JSON"), (b"7", "JSON object"), (b'{"path": 7}', "path must be a string")]
)
def test_a_malformed_call_is_told_why(daemon: Daemon, body: bytes, told: str) -> None:
    headers = {"content_type": "application/json", "x_access_token": TOKEN}
    status, answer, _ = daemon.request("POST", "/filesystem.Filesystem/Stat", body, **headers)
    assert (status, json.loads(answer)["code"]) == (400, "invalid_argument")
    assert told in json.loads(answer)["message"]


@pytest.mark.parametrize("kind", ["application/proto", "application/connect+proto", ""])
def test_other_codecs_are_refused(daemon: Daemon, kind: str) -> None:
    for name in ("process.Process/List", "process.Process/Start"):
        status, answer, _ = daemon.request("POST", f"/{name}", b"{}", content_type=kind, x_access_token=TOKEN)
        assert status == 415
        assert "is not supported here, send application/" in json.loads(answer)["message"]


def test_a_unary_call_ends_at_its_deadline(daemon: Daemon) -> None:
    stream = daemon.start("sleep 72", stdin=True)
    selector = {"process": {"pid": stream.pid()}}
    data = base64.b64encode(b"x" * 1_000_000).decode()
    begun = time.monotonic()
    status, answer = daemon.rpc(
        "process.Process/SendInput", selector | {"input": {"stdin": data}}, connect_timeout_ms="200"
    )
    assert (status, answer["code"]) == (504, "deadline_exceeded")
    assert time.monotonic() - begun >= 0.2
    daemon.rpc("process.Process/SendSignal", selector | {"signal": 9})


def test_a_deadline_that_is_no_number_is_refused(daemon: Daemon) -> None:
    status, answer = daemon.rpc("process.Process/List", {}, connect_timeout_ms="soon")
    assert (status, answer["code"]) == (400, "invalid_argument")
