"""What a sandbox is, seen from inside and from the machine around it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sandboxes.host import seccomp
from tests.host.hosts import HostProcess

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="user ids of their own need root")


def run(sandbox: Any, command: str) -> str:
    """Output and errors of a command that may fail."""
    return str(sandbox.commands.run(f"{{ {command}\n}} 2>&1 || true").stdout).strip()


def test_it_is_the_user_e2b_programs_expect(sandbox: Any) -> None:
    assert run(sandbox, "id -un; id -u; id -gn; echo ~; pwd").split() == [
        "user",
        "1000",
        "user",
        "/home/user",
        "/home/user",
    ]


def test_python_node_and_git_are_there(sandbox: Any) -> None:
    modules = "ssl, sqlite3, lzma, ctypes, venv, ensurepip, zoneinfo, curses"
    assert run(sandbox, f"python -c 'import {modules}; print(1)'; python3 -c 'print(2)'").split() == ["1", "2"]
    versions = run(sandbox, "node --version; npm --version; npx --version; git --version; bash --version")
    assert versions.startswith("v24.")
    assert "git version" in versions
    assert "not found" not in versions
    assert run(sandbox, "pip install --help >/dev/null && python3 -m venv v && v/bin/python -c 'print(3)'") == "3"


def test_there_is_no_root_and_sudo_says_so(sandbox: Any) -> None:
    assert "local sandbox without a root user" in run(sandbox, "sudo id")
    capabilities = {line.split()[1] for line in run(sandbox, "grep ^Cap /proc/self/status").splitlines()}
    assert capabilities == {"0000000000000000"}
    assert run(sandbox, "grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status").split() == [
        "NoNewPrivs:",
        "1",
        "Seccomp:",
        "2",
    ]


def test_the_system_is_read_only_and_the_home_is_not(sandbox: Any) -> None:
    for path in ("/usr/x", "/etc/x", "/opt/bin/x", "/x", "/dev/x", "/run/envd/x", "/home/x"):
        assert run(sandbox, f"touch {path}").startswith("touch:"), path
    assert run(sandbox, "touch ~/x /tmp/x /dev/shm/x && echo fine") == "fine"


@pytest.mark.parametrize(
    "call",
    [
        "ctypes.CDLL(None, use_errno=True).unshare(0x10000000)",
        "ctypes.CDLL(None, use_errno=True).mount(b'x', b'/tmp', b'tmpfs', 0, None)",
        "ctypes.CDLL(None, use_errno=True).syscall(321, 0, 0, 0)",
        "ctypes.CDLL(None, use_errno=True).syscall(425, 1, 0)",
        "ctypes.CDLL(None, use_errno=True).syscall(250, 0, 0, 0)",
        "ctypes.CDLL(None, use_errno=True).syscall(56, 0x10000011, 0, 0, 0, 0)",
    ],
)
def test_dangerous_calls_are_refused(sandbox: Any, call: str) -> None:
    program = f"import ctypes; print({call}, ctypes.get_errno())"
    assert run(sandbox, f'python3 -c "{program}"') == "-1 1"


def test_sockets_to_the_hypervisor_are_refused(sandbox: Any) -> None:
    assert "Operation not permitted" in run(
        sandbox, "python3 -c 'import socket; socket.socket(40, socket.SOCK_STREAM)'"
    )


def test_threads_and_children_still_work(sandbox: Any) -> None:
    program = "import threading, subprocess as s; t = threading.Thread(target=lambda: s.run(['echo', 'ok'])); t.start()"
    assert run(sandbox, f'python3 -c "{program}; t.join()"') == "ok"


def test_it_sees_only_its_own_processes_and_network(sandbox: Any) -> None:
    assert int(run(sandbox, "ls -d /proc/[0-9]* | wc -l")) < 12
    assert run(sandbox, "tail -n +3 /proc/net/dev | cut -d: -f1").split() == ["lo"]


def test_two_sandboxes_share_nothing(host: HostProcess, sandbox: Any) -> None:
    other = host.create()
    sandbox.files.write("/tmp/secret", "mine")
    sandbox.files.write("secret", "mine")
    assert run(other, "cat /tmp/secret ~/secret").count("No such file") == 2
    other.kill()


def test_no_secret_of_the_host_is_inside(host: HostProcess, sandbox: Any) -> None:
    record = host.record(sandbox.sandbox_id)
    seen = run(sandbox, "env; cat /proc/*/environ /proc/*/cmdline | tr '\\0' '\\n'; mount")
    assert record["control_secret"] not in seen
    assert record["access_token"] not in seen
    assert host.key not in seen


@needs_root
def test_each_has_a_user_id_of_its_own_on_the_machine(host: HostProcess, sandbox: Any) -> None:
    other = host.create()
    uids = [Path(f"/proc/{host.record(one.sandbox_id)['init'][0]}").stat().st_uid for one in (sandbox, other)]
    assert len(set(uids)) == 2
    assert all(uid >= 200_000 for uid in uids)
    other.kill()


def test_the_records_are_readable_by_the_owner_alone(host: HostProcess, sandbox: Any) -> None:
    files = [host.state / "api_key", host.state / "sandboxes" / sandbox.sandbox_id / "record.json"]
    assert [file.stat().st_mode & 0o777 for file in files] == [0o600, 0o600]


def test_there_is_a_filter_for_both_processors() -> None:
    for machine in ("x86_64", "aarch64"):
        assert len(seccomp.build(machine)) % 8 == 0


def test_the_host_says_what_to_do_without_namespaces(tmp_path: Path) -> None:
    broken = (
        "import sys; from sandboxes.host import __main__ as program, bwrap; bwrap.bwrap_path = lambda: '/bin/false'; "
        "sys.exit(program.main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", broken, "--state", str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert done.returncode == 2
    assert "user namespaces" in done.stderr
    assert "E2B_API_KEY" in done.stderr
