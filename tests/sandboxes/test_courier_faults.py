"""What goes wrong in a machine: silent, endless, stubborn and escaping commands, kill -9, no disk, no memory."""

import importlib.util
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandboxes import courier
from sandboxes.courier import Exit, Record
from tests.sandboxes.test_courier import SCRIPT, Machine, alive, here, machine, outcome, pid_in, until

__all__ = ["here", "machine"]  # fixtures

STUBBORN = "trap '' TERM INT HUP; echo ready; while :; do read -t 1 x < <(sleep 9); done"
CGROUPS = Path("/sys/fs/cgroup")


def test_a_deadline_ends_the_command(machine: Machine) -> None:
    output, end = machine.run("echo x; sleep 60", deadline_s=0.3)
    assert output == {"stdout": b"x\n"}
    assert (end.signal, end.reason) == (signal.SIGTERM, "deadline")
    assert "0.3 s" in (end.message or "")


def test_silence_ends_the_command_and_output_puts_it_off(here: Machine) -> None:
    output, end = here.run("for i in 1 2 3 4; do echo $i; sleep 0.2; done; sleep 60", silence_s=0.5)
    assert output == {"stdout": b"1\n2\n3\n4\n"}
    assert end.reason == "silence"


def test_too_much_output_ends_the_command(here: Machine) -> None:
    output, end = here.run(["yes"], spool_limit=100_000)
    assert end.reason == "output"
    assert len(output["stdout"]) > 100_000


def test_a_command_that_ignores_term_is_killed(machine: Machine) -> None:
    _, end = machine.run(STUBBORN, deadline_s=0.3, grace_s=0.2)
    assert (end.signal, end.reason) == (signal.SIGKILL, "deadline")


def test_stop_returns_at_once_and_a_second_one_may_be_sharper(here: Machine) -> None:
    here.start("job", STUBBORN, grace_s=600)
    with subprocess.Popen(here.argv("follow", "job"), stdout=subprocess.PIPE) as follower:
        assert follower.stdout
        first = courier.parse(follower.stdout.readline())
        assert here.call("stop", "job", "--reason", "user")["state"] == "stopping"
        assert here.call("stop", "job", "--grace", "0", "--reason", "other")["state"] in ("stopping", "exited")
        rest = [courier.parse(line) for line in follower.stdout]
    end = outcome([first, *rest])[1]
    assert (end.signal, end.reason) == (signal.SIGKILL, "user")
    assert here.call("stop", "job")["state"] == "exited"


@pytest.mark.parametrize("background", ["keep", "kill"])
def test_a_child_in_the_background_delays_and_survives_nothing(here: Machine, tmp_path: Path, background: str) -> None:
    output, end = here.run(f"sleep 600 & echo $! > {tmp_path}/child; echo x", background=background)
    assert (output, end.code, end.reason) == ({"stdout": b"x\n"}, 0, None)
    assert not alive(pid_in(tmp_path / "child"))


def test_kill_ends_daemons_too(machine: Machine, tmp_path: Path) -> None:
    daemon = f"setsid bash -c 'trap \"\" TERM; echo $$ > {tmp_path}/daemon; while :; do sleep 1; done'"
    _, end = machine.run(
        f"({daemon} > /dev/null 2>&1 &); until [ -s {tmp_path}/daemon ]; do :; done", background="kill"
    )
    assert end.code == 0
    assert not alive(pid_in(tmp_path / "daemon"))


def test_keep_leaves_a_daemon_and_its_pipe_open(here: Machine, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "gate")
    wait = f"read x < {tmp_path}/gate; echo to-the-pipe && touch {tmp_path}/lived"
    daemon = f"setsid bash -c 'echo $$ > {tmp_path}/daemon; {wait}'"
    _, end = here.run(f"{daemon} & until [ -s {tmp_path}/daemon ]; do :; done")
    assert (end.code, end.reason) == (0, None)
    assert alive(pid_in(tmp_path / "daemon"))
    (tmp_path / "gate").write_text("go\n")
    until(lambda: (tmp_path / "lived").exists())
    until(lambda: not alive(json.loads((here.home / "jobs/job/meta.json").read_text())["supervisor"]))


def test_stopping_with_keep_ends_a_running_tool_but_not_a_daemon(here: Machine, tmp_path: Path) -> None:
    names = [tmp_path / name for name in ("daemon", "tool")]
    run = "setsid bash -c 'echo $$ > {}; exec sleep 600 > /dev/null 2>&1'"
    here.start("job", f"({run.format(names[0])} &); {run.format(names[1])} & wait", grace_s=1)
    daemon, tool = map(pid_in, names)
    until(lambda: "sleep" in Path(f"/proc/{daemon}/cmdline").read_text())
    here.call("stop", "job")
    end = outcome(here.follow("job"))[1]
    assert end.reason == "stopped"
    assert not alive(tool)
    assert alive(daemon)
    os.kill(daemon, signal.SIGKILL)


def test_a_dead_supervisor_is_noticed_and_nothing_goes_on(machine: Machine, tmp_path: Path) -> None:
    started = machine.start("job", f"echo first; echo $$ > {tmp_path}/main; exec sleep 600", background="kill")
    with subprocess.Popen(machine.argv("follow", "job"), stdout=subprocess.PIPE) as follower:
        assert follower.stdout
        first = courier.parse(follower.stdout.readline())
        os.kill(started["supervisor"], signal.SIGKILL)
        rest = [courier.parse(line) for line in follower.stdout]
    output, end = outcome([first, *rest])
    assert output == {"stdout": b"first\n"}
    assert (end.code, end.reason) == (None, "supervisor_lost")
    until(lambda: not alive(pid_in(tmp_path / "main")))
    assert machine.call("start", "job")["started"] is False


def test_a_torn_last_line_is_cut_by_recovery(here: Machine) -> None:
    started = here.start("job", "echo first; exec sleep 600")
    spool = here.home / "jobs/job/spool"
    until(lambda: b'"seq":1' in spool.read_bytes())
    os.kill(started["supervisor"], signal.SIGKILL)
    until(lambda: here.call("status", "job")["state"] == "lost")
    with spool.open("ab") as file:
        file.write(b'{"seq":2,"t":9,"stream":"stdout","data":"aGFs')
    assert here.call("recover", "job")["exit"]["reason"] == "supervisor_lost"
    assert here.call("recover", "job")["seq"] == 2
    lines = here.follow("job")
    assert outcome(lines)[0] == {"stdout": b"first\n"}
    assert sum(isinstance(line, Exit) for line in lines) == 1


def test_recover_leaves_a_living_job_alone(here: Machine) -> None:
    here.start("job", "sleep 600")
    assert here.call("recover", "job")["state"] == "running"
    here.call("stop", "job")
    assert outcome(here.follow("job"))[1].reason == "stopped"


def test_a_changed_spool_is_told(here: Machine) -> None:
    here.start("job", "echo x")
    here.follow("job")
    done = subprocess.run(here.argv("follow", "job", "--offset", "99999"), capture_output=True, timeout=60)
    assert done.returncode == 2
    assert b"changed by something else" in done.stdout


def test_rubbish_in_the_control_pipe_is_ignored(here: Machine, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "gate")
    here.start("job", f"read x < {tmp_path}/gate; echo fine")
    with (here.home / "jobs/job/control").open("wb") as control:
        control.write(b'\xff\n[]\n{"reason":1}\n{"reason":"x","grace":"soon"}\n')
    (tmp_path / "gate").write_text("go\n")
    output, end = outcome(here.follow("job"))
    assert (output, end.reason) == ({"stdout": b"fine\n"}, None)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small disk")
def test_a_full_disk_stops_the_command_and_is_told(tmp_path: Path) -> None:
    home = tmp_path / "small"
    home.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(home)], capture_output=True).returncode:
        pytest.skip("mount is not allowed here")
    try:
        output, end = Machine(home, "python3").run("while echo 123456789; do :; done", grace_s=1)
        assert end.reason == "disk"
        assert "disk" in (end.message or "")
        kept = len(output["stdout"])
        assert kept > 100_000
        assert end.details["bytes"]["stdout"] == kept + end.details["bytes"]["lost"]
    finally:
        subprocess.run(["umount", "-l", str(home)], check=True)


def controller(name: str) -> Path:
    """A new cgroup folder of version 1 or 2, or a skip."""
    parent = CGROUPS / name if (CGROUPS / name).is_dir() else CGROUPS
    folder = parent / f"courier-test-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError:
        pytest.skip(f"no writable {name} cgroup")
    if not any(folder.glob(f"{name}.*")):
        folder.rmdir()
        pytest.skip(f"the {name} controller is not enabled")
    return folder


@pytest.fixture
def small_memory() -> Iterator[Path]:
    folder = controller("memory")
    limit = folder / ("memory.limit_in_bytes" if (folder / "memory.limit_in_bytes").exists() else "memory.max")
    limit.write_text(str(64 * 2**20))
    yield folder
    remove(folder)


@pytest.fixture
def few_processes() -> Iterator[Path]:
    folder = controller("pids")
    (folder / "pids.max").write_text("60")
    yield folder
    remove(folder)


def remove(folder: Path) -> None:
    until(lambda: not (folder / "cgroup.procs").read_text())
    folder.rmdir()


def start_in(folder: Path, machine: Machine, job: str) -> None:
    line = f'echo $$ > {folder}/cgroup.procs; exec "$@"'
    subprocess.run(
        ["bash", "-c", line, "bash", *machine.argv("start", job)], check=True, capture_output=True, timeout=30
    )


def test_a_memory_bomb_is_told_as_such(here: Machine, small_memory: Path) -> None:
    here.write("job", ["python3", "-c", "print('hi', flush=True); x = b'1' * 2**30"])
    start_in(small_memory, here, "job")
    output, end = outcome(here.follow("job"))
    assert output == {"stdout": b"hi\n"}
    assert (end.signal, end.reason) == (signal.SIGKILL, "memory")


def test_a_fork_bomb_ends_and_leaves_nothing(here: Machine, few_processes: Path) -> None:
    here.write("job", "echo hi; f(){ f | f & }; f; sleep 600", deadline_s=1.5, grace_s=0.5, background="kill")
    start_in(few_processes, here, "job")
    lines = here.follow("job")
    assert any(isinstance(line, Record) for line in lines)
    assert outcome(lines)[1].reason in ("deadline", None)
    until(lambda: not (few_processes / "cgroup.procs").read_text())


def test_time_while_the_machine_is_frozen_does_not_count(here: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    here.write("job", ["true"], deadline_s=60)
    spec = importlib.util.spec_from_file_location("courier_in_test", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    job = module.Job(str(here.home), "job")
    supervisor = module.Supervisor(job, job.spec(), -1, -1)
    thawed = supervisor.looked + 86_400
    monkeypatch.setattr(module.time, "monotonic", lambda: thawed)
    supervisor.look_at_clock()
    assert supervisor.active <= 2
    assert supervisor.looked == thawed
