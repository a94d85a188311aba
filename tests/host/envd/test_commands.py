"""Commands through the real SDK."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
from e2b import (
    AsyncSandbox,
    AuthenticationException,
    CommandExitException,
    InvalidArgumentException,
    NotFoundException,
    Sandbox,
    SandboxException,
    TimeoutException,
)

from tests.host.envd.harness import ME, Daemon, until


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_both_outputs_and_the_exit_status_arrive(sandbox: Sandbox) -> None:
    with pytest.raises(CommandExitException) as failure:
        sandbox.commands.run("echo out; echo err >&2; exit 3")
    assert (failure.value.stdout, failure.value.stderr, failure.value.exit_code) == ("out\n", "err\n", 3)
    assert failure.value.error == "exit status 3"


def test_a_signal_is_told_as_the_status(sandbox: Sandbox) -> None:
    with pytest.raises(CommandExitException) as failure:
        sandbox.commands.run("kill -TERM $$")
    assert (failure.value.exit_code, failure.value.error) == (-1, "signal: terminated")


def test_large_output_arrives_whole(sandbox: Sandbox) -> None:
    result = sandbox.commands.run("seq 1 300000; seq 1 100000 >&2")
    assert result.stdout == "".join(f"{n}\n" for n in range(1, 300001))
    assert result.stderr == "".join(f"{n}\n" for n in range(1, 100001))


def test_broken_utf8_passes_and_split_characters_are_joined(sandbox: Sandbox) -> None:
    seen = sandbox.commands.run(r"printf 'a\xff\xe2'; read -t 0.05 < <(tail -f /dev/null); printf '\x82\xac'")
    assert seen.stdout == "a\ufffd\u20ac"


def test_later_variables_win(sandbox: Sandbox, daemon: Daemon) -> None:
    result = sandbox.commands.run('echo "$HOME|$USER|$LOGNAME|$FROM_SANDBOX|$BOTH"', envs={"BOTH": "command"})
    assert result.stdout == f"{daemon.home}|{ME}|{ME}|sandbox|command\n"


def test_nothing_else_of_the_daemon_is_inherited(sandbox: Sandbox) -> None:
    names = sandbox.commands.run("env | cut -d= -f1 | sort; ls -l /proc/self/fd | grep -c socket; true").stdout.split()
    assert "TOKEN" not in " ".join(names)
    assert names[-1] == "0"


def test_a_command_starts_at_home_or_in_its_cwd(sandbox: Sandbox, daemon: Daemon, tmp_path: Path) -> None:
    (daemon.home / "sub").mkdir(exist_ok=True)
    assert sandbox.commands.run("pwd").stdout == f"{daemon.home}\n"
    assert sandbox.commands.run("pwd", cwd="sub").stdout == f"{daemon.home}/sub\n"
    assert sandbox.commands.run("pwd", cwd="~/sub").stdout == f"{daemon.home}/sub\n"
    assert sandbox.commands.run("pwd", cwd=str(tmp_path)).stdout == f"{tmp_path}\n"


@pytest.mark.parametrize("cwd", ["/no/such/folder", "/etc/passwd", "~stranger/x"])
def test_a_missing_cwd_is_an_invalid_argument(sandbox: Sandbox, cwd: str) -> None:
    with pytest.raises(InvalidArgumentException, match=r"cwd|cannot expand"):
        sandbox.commands.run("true", cwd=cwd)


def test_a_program_that_does_not_exist_is_an_invalid_argument(daemon: Daemon) -> None:
    stream = daemon.stream("process.Process/Start", {"process": {"cmd": "/no/such/program"}})
    assert list(stream) == []
    assert stream.error is not None
    assert stream.error["code"] == "invalid_argument"
    assert "No such file" in stream.error["message"]


@pytest.mark.parametrize("user", ["nobody-here", "daemon"])
def test_a_user_that_cannot_be_had_is_unauthenticated(sandbox: Sandbox, user: str) -> None:
    with pytest.raises(AuthenticationException, match="invalid username"):
        sandbox.commands.run("true", user=user)


def test_stdin_is_fed_and_closed(sandbox: Sandbox) -> None:
    handle = sandbox.commands.run("cat", background=True, stdin=True)
    sandbox.commands.send_stdin(handle.pid, "one ")
    sandbox.commands.stream_input(handle.pid, ["two ", b"three"])
    sandbox.commands.close_stdin(handle.pid)
    assert handle.wait().stdout == "one two three"


def test_much_stdin_waits_for_a_slow_reader(sandbox: Sandbox) -> None:
    handle = sandbox.commands.run("read first; wc -c", background=True, stdin=True)
    sandbox.commands.stream_input(handle.pid, ["go\n", *(b"x" * 500_000 for _ in range(6))])
    sandbox.commands.close_stdin(handle.pid)
    assert handle.wait().stdout == "3000000\n"


def test_input_nobody_reads_ends_when_the_process_does(sandbox: Sandbox) -> None:
    handle = sandbox.commands.run("read -t 0.2; exec sleep 0.1", background=True, stdin=True)
    with pytest.raises(SandboxException, match=r"stdin is not enabled|no longer reads"):
        handle.send_stdin("x" * 1_000_000)


def test_without_stdin_there_is_an_empty_one(sandbox: Sandbox) -> None:
    assert sandbox.commands.run("cat; echo end").stdout == "end\n"
    handle = sandbox.commands.run("sleep 60", background=True)
    with pytest.raises(SandboxException, match="stdin is not enabled"):
        handle.send_stdin("x")
    handle.kill()


def test_the_list_has_what_runs_with_its_words(sandbox: Sandbox) -> None:
    handle = sandbox.commands.run("sleep 60", background=True, envs={"A": "b"}, cwd="/tmp")
    [found] = [one for one in sandbox.commands.list() if one.pid == handle.pid]
    assert (found.cmd, found.args, found.envs, found.cwd, found.tag) == (
        "/bin/bash",
        ["-l", "-c", "sleep 60"],
        {"A": "b"},
        "/tmp",
        None,
    )
    handle.kill()
    assert handle.pid not in [one.pid for one in sandbox.commands.list()]


def test_a_tag_selects_a_process(daemon: Daemon) -> None:
    stream = daemon.start("sleep 60", tag="server")
    pid = stream.pid()
    _, listed = daemon.rpc("process.Process/List", {})
    assert [one["tag"] for one in listed["processes"] if one["pid"] == pid] == ["server"]
    kill = {"process": {"tag": "server"}, "signal": "SIGNAL_SIGKILL"}
    assert daemon.rpc("process.Process/SendSignal", kill) == (200, {})
    assert [list(m["event"]) for m in stream] == [["end"]]
    assert daemon.rpc("process.Process/SendSignal", kill)[1]["code"] == "not_found"


def test_kill_is_answered_once_all_is_gone(sandbox: Sandbox) -> None:
    handle = sandbox.commands.run("sleep 61 & echo $!; wait", background=True)
    child = int(next(iter(handle))[0] or "")
    assert handle.kill() is True
    assert not alive(handle.pid)
    until(lambda: not alive(child), "the command's own child is gone")
    assert handle.kill() is False


def test_terminate_reaches_the_group(daemon: Daemon) -> None:
    stream = daemon.start("trap 'echo bye; exit 7' TERM; echo ready; sleep 62 & wait")
    pid = stream.pid()
    stream.next()
    daemon.rpc("process.Process/SendSignal", {"process": {"pid": pid}, "signal": "SIGNAL_SIGTERM"})
    events = [message["event"] for message in stream]
    assert events[-1]["end"]["exitCode"] == 7


@pytest.mark.parametrize("wanted", ["SIGNAL_SIGHUP", 1, None, {}])
def test_other_signals_are_refused(daemon: Daemon, wanted: object) -> None:
    stream = daemon.start("sleep 60")
    selector = {"process": {"pid": stream.pid()}}
    status, answer = daemon.rpc("process.Process/SendSignal", selector | {"signal": wanted})
    assert (status, answer["code"]) == (501, "unimplemented")
    daemon.rpc("process.Process/SendSignal", selector | {"signal": 9})


def test_the_timeout_kills_the_whole_command(sandbox: Sandbox, daemon: Daemon) -> None:
    mark = daemon.home / "timeout-child"
    with pytest.raises(TimeoutException):
        sandbox.commands.run(f"sleep 63 & echo $! > {mark}; wait", timeout=0.5)
    child = int(until(lambda: mark.exists() and mark.read_text(), "the child's pid is written"))
    until(lambda: not alive(child), "the child is killed")


def test_the_timeout_ends_the_stream_with_deadline_exceeded(daemon: Daemon) -> None:
    stream = daemon.start("echo hi; sleep 64", headers={"connect_timeout_ms": "300"})
    stream.pid()
    assert [list(message["event"]) for message in stream] == [["data"]]
    assert stream.error is not None
    assert stream.error["code"] == "deadline_exceeded"


def test_a_connection_that_times_out_leaves_the_process(sandbox: Sandbox, daemon: Daemon) -> None:
    handle = sandbox.commands.run("sleep 65", background=True)
    stream = daemon.stream("process.Process/Connect", {"process": {"pid": handle.pid}}, connect_timeout_ms="100")
    assert stream.pid() == handle.pid
    assert list(stream) == []
    assert stream.error is not None
    assert stream.error["code"] == "deadline_exceeded"
    assert handle.kill() is True


def test_a_client_that_leaves_kills_nothing(sandbox: Sandbox) -> None:
    handle = sandbox.commands.run("read; echo $REPLY", background=True, stdin=True)
    handle.disconnect()
    again = sandbox.commands.connect(handle.pid)
    sandbox.commands.send_stdin(handle.pid, "still here\n")
    assert again.wait().stdout == "still here\n"


def test_several_listeners_get_the_same(sandbox: Sandbox) -> None:
    handle = sandbox.commands.run("read; echo $REPLY", background=True, stdin=True)
    others = [sandbox.commands.connect(handle.pid) for _ in range(2)]
    sandbox.commands.send_stdin(handle.pid, "all\n")
    assert [one.wait().stdout for one in (handle, *others)] == ["all\n"] * 3


def test_the_end_of_a_finished_process_is_kept(sandbox: Sandbox) -> None:
    handle = sandbox.commands.run("exit 5", background=True)
    with pytest.raises(CommandExitException):
        handle.wait()
    with pytest.raises(CommandExitException) as late:
        sandbox.commands.connect(handle.pid).wait()
    assert late.value.exit_code == 5


def test_an_unknown_process_is_not_found(sandbox: Sandbox) -> None:
    with pytest.raises(NotFoundException, match=r"pid 99999999"):
        sandbox.commands.connect(99999999)
    with pytest.raises(NotFoundException):
        sandbox.commands.send_stdin(99999999, "x")
    assert sandbox.commands.kill(99999999) is False


def test_a_background_child_does_not_hold_the_end_back(sandbox: Sandbox) -> None:
    result = sandbox.commands.run("sleep 66 & echo $!", timeout=10)
    os.kill(int(result.stdout), signal.SIGKILL)


def test_a_child_left_behind_may_go_on_writing(sandbox: Sandbox, daemon: Daemon) -> None:
    """Its pipe is still read: a write must neither block nor kill it."""
    go, done = daemon.home / "go", daemon.home / "done"
    os.mkfifo(go)
    sandbox.commands.run(f"(read < {go}; head -c 300000 /dev/zero; touch {done}) & true")
    go.write_text("\n")
    until(done.exists, "the child wrote all and went on")


def test_orphans_are_reaped(sandbox: Sandbox, daemon: Daemon) -> None:
    sandbox.commands.run("setsid bash -c 'sleep 0.05' & true")

    def zombies() -> list[str]:
        children = Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children").read_text().split()
        return [pid for pid in children if "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()]

    until(lambda: not zombies(), "no zombie is left")


async def test_the_async_sdk_runs_many_at_once(async_sandbox: AsyncSandbox) -> None:
    results = await asyncio.gather(*(async_sandbox.commands.run(f"echo {n}") for n in range(20)))
    assert [result.stdout for result in results] == [f"{n}\n" for n in range(20)]


async def test_the_async_sdk_streams_stdin(async_sandbox: AsyncSandbox) -> None:
    handle = await async_sandbox.commands.run("cat", background=True, stdin=True)
    await async_sandbox.commands.send_stdin(handle.pid, "hello")
    await async_sandbox.commands.close_stdin(handle.pid)
    assert (await handle.wait()).stdout == "hello"
