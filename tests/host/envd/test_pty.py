"""Terminals through the real SDK."""

import re

import pytest
from e2b import AsyncSandbox, PtySize, Sandbox, SandboxException
from e2b.sandbox_sync.commands.command_handle import CommandHandle

from tests.host.envd.harness import Daemon


def read_until(handle: CommandHandle, pattern: str) -> str:
    """Output up to a match; the command's own timeout bounds the wait."""
    seen = ""
    for _, _, data in handle:
        seen += (data or b"").decode(errors="replace")
        if re.search(pattern, seen):
            return seen
    raise AssertionError(f"the terminal ended without {pattern!r}: {seen!r}")


def open_terminal(sandbox: Sandbox, rows: int = 31, cols: int = 97) -> CommandHandle:
    return sandbox.pty.create(PtySize(rows=rows, cols=cols), timeout=20, envs={"PS1": "$ "})


def test_a_terminal_has_its_size_and_follows_a_resize(sandbox: Sandbox) -> None:
    terminal = open_terminal(sandbox)
    sandbox.pty.send_stdin(terminal.pid, b"stty size; tty\n")
    read_until(terminal, r"31 97\s+/dev/pts/\d+")
    sandbox.pty.resize(terminal.pid, PtySize(rows=40, cols=120))
    sandbox.pty.send_stdin(terminal.pid, b"stty size\n")
    read_until(terminal, "40 120")
    assert sandbox.pty.kill(terminal.pid) is True
    assert sandbox.pty.kill(terminal.pid) is False


def test_control_c_reaches_the_foreground(sandbox: Sandbox) -> None:
    terminal = open_terminal(sandbox)
    trap = 'trap "echo caught-\\$((40+2)); exit" INT; echo ready-$((1+1)); while :; do sleep 0.05; done'
    sandbox.pty.send_stdin(terminal.pid, f"bash -c '{trap}'\n".encode())
    read_until(terminal, "ready-2")
    sandbox.pty.send_stdin(terminal.pid, b"\x03")
    read_until(terminal, "caught-42")
    sandbox.pty.kill(terminal.pid)


def test_all_output_before_the_exit_arrives(sandbox: Sandbox) -> None:
    terminal = open_terminal(sandbox)
    sandbox.pty.send_stdin(terminal.pid, b"seq 1 20000; echo the-$((1+1))-end; exit\n")
    seen: list[bytes] = []
    assert terminal.wait(on_pty=seen.append).exit_code == 0
    assert "the-2-end" in b"".join(seen).decode()
    assert b"\r\n19999\r\n20000\r\n" in b"".join(seen)


def test_a_stray_child_does_not_hold_the_terminals_end_back(sandbox: Sandbox) -> None:
    terminal = open_terminal(sandbox)
    sandbox.pty.send_stdin(terminal.pid, b"nohup sleep 30 & disown; exit\n")
    assert terminal.wait().exit_code == 0


def test_a_terminal_is_streamed_to_and_connected_again(sandbox: Sandbox) -> None:
    terminal = open_terminal(sandbox)
    again = sandbox.pty.connect(terminal.pid, timeout=20)
    terminal.disconnect()
    sandbox.pty.stream_input(terminal.pid, [b"echo one-$((1", b"+1))\n"])
    read_until(again, "one-2")
    sandbox.pty.kill(terminal.pid)


def test_a_chunk_of_a_terminal_is_at_most_16_kib(daemon: Daemon) -> None:
    stream = daemon.start("seq 1 50000", pty={"size": {"rows": 24, "cols": 80}})
    stream.pid()
    sizes = [len(message["event"]["data"]["pty"]) * 3 // 4 for message in stream if "data" in message["event"]]
    assert sum(sizes) > 200_000
    assert max(sizes) <= 16 * 1024 + 3


def test_input_and_calls_that_do_not_fit_are_refused(sandbox: Sandbox, daemon: Daemon) -> None:
    terminal = open_terminal(sandbox)
    plain = sandbox.commands.run("sleep 73", background=True, stdin=True)
    with pytest.raises(SandboxException, match="has a terminal"):
        sandbox.commands.send_stdin(terminal.pid, "x")
    with pytest.raises(SandboxException, match="Ctrl"):
        sandbox.commands.close_stdin(terminal.pid)
    with pytest.raises(SandboxException, match="no terminal"):
        sandbox.pty.send_stdin(plain.pid, b"x")
    with pytest.raises(SandboxException, match="no terminal"):
        sandbox.pty.resize(plain.pid, PtySize(rows=1, cols=1))
    bad_size = {"process": {"pid": terminal.pid}, "pty": {"size": {"rows": -4, "cols": "wide"}}}
    assert daemon.rpc("process.Process/Update", bad_size)[1]["code"] == "invalid_argument"
    assert terminal.kill()
    assert plain.kill()


async def test_the_async_sdk_reads_a_terminal(async_sandbox: AsyncSandbox) -> None:
    seen: list[bytes] = []
    terminal = await async_sandbox.pty.create(PtySize(rows=10, cols=40), on_data=seen.append, timeout=20)
    await async_sandbox.pty.send_stdin(terminal.pid, b"echo async-$((1+1)); exit\n")
    assert (await terminal.wait()).exit_code == 0
    assert b"async-2" in b"".join(seen)
