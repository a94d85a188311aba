"""The real courier with real processes, under this Python and under 3.8 where there is one."""

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sandboxes import courier
from sandboxes.courier import Exit, Heartbeat, Line, Record, Tick

SCRIPT = Path(courier.__file__).with_name("courier.py")
OLD = next(iter(sorted(Path.home().glob(".pyenv/versions/3.8.*/bin/python3"))), shutil.which("python3.8"))
PYTHONS = [sys.executable, pytest.param(str(OLD), marks=pytest.mark.skipif(not OLD, reason="needs a Python 3.8"))]


class Machine:
    """A home with a courier in it."""

    def __init__(self, home: Path, python: str) -> None:
        self.home, self.python = home, python

    def argv(self, *words: str) -> list[str]:
        return [self.python, "-I", "-S", str(SCRIPT), *words, "--home", str(self.home)]

    def call(self, *words: str, env: dict[str, str] | None = None) -> dict[str, Any]:
        done = subprocess.run(self.argv(*words), capture_output=True, env={**os.environ, **(env or {})}, timeout=30)
        assert not done.stderr
        return dict(json.loads(done.stdout))

    def write(self, job: str, script: str | list[str], **spec: Any) -> Path:
        folder = self.home / "jobs" / job
        folder.mkdir(parents=True, exist_ok=True)
        argv = ["bash", "-c", script] if isinstance(script, str) else script
        (folder / "spec.json").write_text(json.dumps({"argv": argv, **spec}))
        return folder

    def start(
        self, job: str, script: str | list[str], env: dict[str, str] | None = None, **spec: Any
    ) -> dict[str, Any]:
        self.write(job, script, **spec)
        return self.call("start", job, env=env)

    def follow(self, job: str, *words: str) -> list[Line]:
        done = subprocess.run(self.argv("follow", job, *words), capture_output=True, timeout=60, check=True)
        return [courier.parse(line) for line in done.stdout.splitlines(keepends=True)]

    def run(self, script: str | list[str], **spec: Any) -> tuple[dict[str, bytes], Exit]:
        assert self.start("job", script, **spec)["started"] is True
        return outcome(self.follow("job"))


def outcome(lines: list[Line]) -> tuple[dict[str, bytes], Exit]:
    """Output by stream and the exit record, having checked that seq is gapless and time never falls."""
    counted = [line for line in lines if isinstance(line, Record | Exit)]
    assert [line.seq for line in counted] == list(range(1, len(counted) + 1))
    times = [line.t for line in lines if not isinstance(line, Heartbeat)]
    assert times == sorted(times)
    output: dict[str, bytearray] = {}
    for line in counted[:-1]:
        assert isinstance(line, Record)
        assert 0 < len(line.data) <= 32 * 1024
        output.setdefault(line.stream, bytearray()).extend(line.data)
    assert isinstance(counted[-1], Exit)
    return {stream: bytes(data) for stream, data in output.items()}, counted[-1]


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait on a condition, by a poll that wakes nobody else."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        select.select([], [], [], 0.01)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def pid_in(path: Path) -> int:
    until(lambda: path.exists() and path.read_text().strip())
    return int(path.read_text())


@pytest.fixture(params=PYTHONS, ids=["this", "3.8"])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machine]:
    yield from machine_in(tmp_path, request.param)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Machine]:
    yield from machine_in(tmp_path, sys.executable)


def machine_in(home: Path, python: str) -> Iterator[Machine]:
    yield Machine(home, python)
    for meta in home.glob("jobs/*/meta.json"):
        for name in ("supervisor", "pid"):
            pid = json.loads(meta.read_text())[name]
            if pid and alive(pid) and str(home) in Path(f"/proc/{pid}/environ").read_text() + cmdline(pid):
                os.kill(pid, signal.SIGKILL)


def cmdline(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def test_output_and_status_arrive(machine: Machine) -> None:
    output, end = machine.run("echo out; echo err >&2; printf 'no newline'; exit 3")
    assert output == {"stdout": b"out\nno newline", "stderr": b"err\n"}
    assert (end.code, end.signal, end.reason) == (3, None, None)
    assert end.details["bytes"] == {"stdout": 14, "stderr": 4}
    assert end.details["max_rss_kb"] > 0


def test_a_second_start_runs_nothing(machine: Machine, tmp_path: Path) -> None:
    machine.write("job", f"echo x >> {tmp_path}/ran; read x < {tmp_path}/gate")
    os.mkfifo(tmp_path / "gate")
    starts = [subprocess.Popen(machine.argv("start", "job"), stdout=subprocess.PIPE) for _ in range(6)]
    answers = [json.loads(start.communicate(timeout=30)[0]) for start in starts]
    assert sorted(answer["started"] for answer in answers) == [False] * 5 + [True]
    (tmp_path / "gate").write_text("go\n")
    outcome(machine.follow("job"))
    assert machine.call("start", "job")["state"] == "exited"
    assert (tmp_path / "ran").read_text() == "x\n"


def test_text_is_stdin_and_ends(machine: Machine) -> None:
    assert machine.run(["cat"], stdin="grüße\n")[0] == {"stdout": "grüße\n".encode()}


def test_secrets_come_by_the_environment_of_start(here: Machine, tmp_path: Path) -> None:
    here.write("job", 'echo "$PWD|$A|$SECRET|${COURIER_X-none}"', cwd=str(tmp_path), env={"A": "1"})
    here.call("start", "job", env={"SECRET": "hush", "COURIER_X": "elsewhere"})
    output, _ = outcome(here.follow("job"))
    assert output["stdout"].decode() == f"{tmp_path}|1|hush|none\n"


def test_a_file_can_be_stdin(here: Machine, tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(b"\0\xff")
    assert here.run(["cat"], stdin_file=str(tmp_path / "input"))[0] == {"stdout": b"\0\xff"}


@pytest.mark.parametrize(
    ("argv", "spec", "problem"),
    [
        (["no-such-program"], {}, "no-such-program: No such file"),
        (["true"], {"cwd": "/no/such/folder"}, "/no/such/folder: No such file"),
        (["true"], {"stdin_file": "/no/such/input"}, "/no/such/input"),
        (["true"], {"pty": [1, -1]}, "65535"),
        (["\ud800"], {}, "surrogates"),
    ],
)
def test_what_cannot_start_says_why(here: Machine, argv: list[str], spec: dict[str, Any], problem: str) -> None:
    output, end = here.run(argv, **spec)
    assert (output, end.code, end.reason) == ({}, None, "spawn")
    assert problem in (end.message or "")


def test_a_wrong_request_is_a_sentence(here: Machine) -> None:
    assert "no job nothing" in here.call("start", "nothing")["error"]
    assert "is not a job id" in here.call("start", "../x")["error"]
    assert "Usage" in here.call("dance")["error"]
    here.write("job", [])
    assert "needs argv" in here.call("start", "job")["error"]
    here.write("job", ["nul\0"])
    assert "without NUL" in here.call("start", "job")["error"]
    here.write("job", ["true"], pty=[80])
    assert "needs pty as [columns, rows]" in here.call("start", "job")["error"]
    here.write("job", ["true"], env={"A": 1})
    assert "needs env" in here.call("start", "job")["error"]
    here.write("job", ["true"], deadline_s="soon")
    assert "not a number" in here.call("start", "job")["error"]
    assert "never started" in here.call("follow", "job")["error"]


def test_a_terminal_is_one(machine: Machine) -> None:
    output, end = machine.run("tty; stty size; echo err >&2; echo bye > /dev/tty", pty=[100, 30])
    lines = output["pty"].split(b"\r\n")
    assert lines[0].startswith(b"/dev/pts/")
    assert lines[1:] == [b"30 100", b"err", b"bye", b""]
    assert end.code == 0


def test_a_terminal_with_text_as_stdin_ends_without_a_hangup(here: Machine) -> None:
    ends = []
    for number in range(8):
        here.start(f"job{number}", "echo 1; exec cat", pty=[80, 24], stdin="x")
        ends.append(outcome(here.follow(f"job{number}"))[1])
    assert {(end.code, end.signal) for end in ends} == {(0, None)}


def test_hostile_bytes_arrive_unchanged(here: Machine) -> None:
    data = bytes(range(256)) * 40_000 + "\x1b[31m'\"{}é".encode() + b"\xc3"
    write = f"import os,sys; d=bytes(range(256))*40000+{data[10_240_000:]!r}; sys.stdout.buffer.write(d)"
    output, end = here.run([sys.executable, "-c", write])
    assert output["stdout"] == data
    assert end.details["bytes"]["stdout"] == len(data)


def test_quick_lines_share_records_and_quiet_is_told(here: Machine) -> None:
    here.start("job", "for i in {1..3000}; do echo $i; done; read -t 0.5 < <(:) ; read -t 0.6 x < <(sleep 9); echo end")
    lines = here.follow("job")
    assert outcome(lines)[0]["stdout"].split()[-2:] == [b"3000", b"end"]
    assert sum(isinstance(line, Record) for line in lines) < 300
    place = next(number for number, line in enumerate(lines) if isinstance(line, Tick))
    before, after = lines[place - 1], lines[place + 1]
    assert before.t + 250 <= lines[place].t <= after.t


def test_offset_goes_on_at_the_byte(here: Machine) -> None:
    here.start("job", "for i in 1 2 3; do echo $i; read -t 0.05 x < <(sleep 1); done", background="kill")
    raw = subprocess.run(here.argv("follow", "job"), capture_output=True, timeout=30, check=True).stdout
    assert raw == (here.home / "jobs/job/spool").read_bytes()
    first = raw.index(b"\n") + 1
    again = subprocess.run(here.argv("follow", "job", "--offset", str(first)), capture_output=True, timeout=30)
    assert again.stdout == raw[first:]


def test_lines_come_while_the_command_runs(machine: Machine, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "gate")
    machine.start("job", f"echo first; read x < {tmp_path}/gate; echo second")
    with subprocess.Popen(machine.argv("follow", "job"), stdout=subprocess.PIPE) as follower:
        assert follower.stdout
        first = courier.parse(follower.stdout.readline())
        assert isinstance(first, Record)
        assert first.data == b"first\n"
        (tmp_path / "gate").write_text("go\n")
        rest = [courier.parse(line) for line in follower.stdout]
    assert outcome([first, *rest])[0] == {"stdout": b"first\nsecond\n"}


def test_the_newest_follower_wins(here: Machine) -> None:
    here.start("job", "echo x; sleep 60")
    with subprocess.Popen(here.argv("follow", "job"), stdout=subprocess.PIPE) as old:
        assert old.stdout
        assert old.stdout.readline()
        with subprocess.Popen(here.argv("follow", "job"), stdout=subprocess.PIPE) as new:
            assert old.wait(timeout=60) == 0
            here.call("stop", "job")
            assert b'"exit"' in new.communicate(timeout=60)[0]


def test_a_follower_that_nobody_reads_yields_to_a_newer_one(here: Machine) -> None:
    here.start("job", "head -c 3000000 /dev/zero; sleep 60")
    stuck = subprocess.Popen(here.argv("follow", "job"), stdout=subprocess.PIPE)
    assert stuck.stdout
    assert stuck.stdout.read(1)
    here.call("stop", "job")
    outcome(here.follow("job"))
    assert stuck.wait(timeout=60) == 0
    stuck.stdout.close()


def test_a_follower_whose_reader_is_gone_ends(here: Machine) -> None:
    here.start("job", "sleep 60")
    follower = subprocess.Popen(here.argv("follow", "job"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert follower.stdout
    follower.stdout.close()
    assert follower.wait(timeout=60) == 0
    assert follower.stderr
    assert follower.stderr.read() == b""
    follower.stderr.close()
    here.call("stop", "job")


def test_a_quiet_follower_sends_heartbeats(here: Machine) -> None:
    here.start("job", "echo x; sleep 60")
    with subprocess.Popen(here.argv("follow", "job"), stdout=subprocess.PIPE) as follower:
        assert follower.stdout
        lines = [courier.parse(follower.stdout.readline()) for _ in range(3)]
        here.call("stop", "job", "--grace", "0")
        follower.communicate(timeout=60)
    assert isinstance(lines[1], Tick)
    assert isinstance(lines[2], Heartbeat)
    assert lines[2].offset > 0


def test_a_hundred_megabytes_without_a_newline_arrive(here: Machine) -> None:
    output, _ = here.run("head -c 100000000 /dev/zero")
    assert len(output["stdout"]) == 100_000_000


def test_environment_of_the_job_names_it(here: Machine) -> None:
    assert here.run("echo ${CODECOURIER_JOB##*/}")[0] == {"stdout": b"job\n"}


def test_version_follows_the_source() -> None:
    assert SCRIPT.read_bytes() == courier.SOURCE
    assert len(courier.VERSION) == 12


def test_the_shell_line_works_and_quotes(tmp_path: Path) -> None:
    folder = tmp_path / ".courier" / "jobs" / "j1"
    folder.mkdir(parents=True)
    (folder / "spec.json").write_text('{"argv": ["echo", "hi"]}')
    (tmp_path / ".courier/courier.py").write_bytes(courier.SOURCE)
    env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    lines = b""
    for line in (courier.command("start", "j1"), courier.command("follow", "j1", "--offset", 0, "--follower", "it's")):
        lines = subprocess.run(["bash", "-c", line], env=env, capture_output=True, check=True, timeout=30).stdout
    assert base64.b64encode(b"hi\n") in lines
    assert (folder / "follower").read_text() == "it's"


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"hello",
        b"[]",
        b"null",
        b'{"seq":1,"t":0,"stream":"stdout","data":"aGk',
        b'{"seq":1,"t":0,"stream":"stdout","data":"a*k="}',
        b'{"seq":1,"t":0,"stream":"other","data":"aGk="}',
        b'{"seq":-1,"t":0,"exit":{"code":0,"signal":null,"reason":null,"message":null}}',
        b'{"seq":1,"t":0,"exit":{}}',
        b'{"seq":true,"t":0,"exit":{"code":0,"signal":null,"reason":null,"message":null}}',
        b'{"tick":"1"}',
        b'{"heartbeat":1}',
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_a_line_that_the_courier_never_writes_is_refused(line: bytes) -> None:
    with pytest.raises(courier.BadLine):
        courier.parse(line)
