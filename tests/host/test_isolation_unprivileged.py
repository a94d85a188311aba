"""The host run by an ordinary user: shared uid, no cgroups, watchdogs instead."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.hosts import ROOT, HostProcess, eventually

NOBODY = 65534
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


def hidden_below(path: Path) -> Path | None:
    """The topmost folder on the way to `path` that other users may not pass."""
    return next((parent for parent in reversed(path.parents) if not parent.stat().st_mode & 0o001), None)


def opened(paths: list[Path]) -> str:
    """Shell lines that, in a mount namespace of their own, make these folders reachable for everybody."""
    hidden = {path: top for path in paths if (top := hidden_below(path))}
    lines = ["set -e", "mount -t tmpfs -o mode=755 none /mnt"]
    for n, path in enumerate(hidden):
        lines += [f"mkdir /mnt/{n}", f"mount --bind '{path}' /mnt/{n}"]
    lines += [f"mount -t tmpfs -o mode=755 none '{top}'" for top in sorted(set(hidden.values()))]
    for n, path in enumerate(hidden):
        lines += [f"mkdir -p -m 755 '{path}'", f"mount --bind /mnt/{n} '{path}'"]
    identity = f"--reuid {NOBODY} --regid {NOBODY} --clear-groups"
    return "\n".join([*lines, f'exec setpriv {identity} -- "$@"'])


@pytest.fixture
def ordinary_host() -> Iterator[HostProcess]:
    """A host of a user without any right, in a folder of that user's."""
    folder = Path(f"/var/tmp/codecourier-{os.getpid()}")
    folder.mkdir()
    os.chown(folder, NOBODY, NOBODY)
    script = opened([ROOT, Path(sys.prefix), Path(sys.base_prefix)])
    prefix = ("unshare", "--mount", "sh", "-c", script, "sh")
    options = ("--pool", "0", "--disk-mb", "50", "--sample-seconds", "0.3", "--pids", "200", "--memory-grace", "0.5")
    host = HostProcess(folder / "state", *options, prefix=prefix)
    yield host
    if host.process and host.process.poll() is None:
        host.stop()
    host.sweep()
    assert not list((host.state / "sandboxes").iterdir())
    shutil.rmtree(folder)


def test_an_ordinary_user_can_run_a_host(ordinary_host: HostProcess) -> None:
    host = ordinary_host
    if subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode:
        pytest.skip("this container may not make mount namespaces")
    host.start()
    made = host.create("script-1c-256m")
    assert Path(f"/proc/{host.record(made.sandbox_id)['init'][0]}").stat().st_uid == NOBODY
    assert made.commands.run("id -u; touch ~/x; ls ~; ulimit -u").stdout == "1000\nx\n200\n"
    made.commands.run("mkdir ~/project")
    assert host.call("POST", f"/sandboxes/{made.sandbox_id}/protect", {"path": "/home/user/project"}) == (204, None)
    assert "Read-only file system" in made.commands.run("touch ~/project/x 2>&1 || true").stdout
    assert made.pause() is True
    assert not made.is_running()
    made = host.sdk().Sandbox.connect(made.sandbox_id)
    assert made.commands.run("echo back").stdout == "back\n"
    made.commands.run("python3 -c 'import time; b = bytearray(400 << 20); time.sleep(60)'", background=True)
    assert eventually(lambda: host.reason(made.sandbox_id)) == "memory"
    full = host.create()
    full.commands.run("head -c 80M /dev/zero > ~/big", background=True)
    assert eventually(lambda: host.reason(full.sandbox_id)) == "disk"


def test_a_fork_bomb_of_an_ordinary_users_sandbox_is_contained(ordinary_host: HostProcess) -> None:
    host = ordinary_host
    host.start()
    bombed, other = host.create(), host.create()
    bombed.commands.run("bomb() { bomb | bomb & }; bomb; sleep 60", background=True)
    assert other.commands.run("echo unharmed").stdout == "unharmed\n"
    assert bombed.kill() is True
