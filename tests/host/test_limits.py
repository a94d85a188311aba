"""Memory, processes and disk: what a sandbox does past its limits, and that nobody else notices."""

import os
from typing import Any

import e2b
import pytest

from sandboxes.host.cgroups import Bare, Groups
from sandboxes.host.processes import members, stat_fields
from sandboxes.host.settings import Settings
from tests.host.hosts import HostProcess, eventually


def groups_work() -> bool:
    groups = Groups("probe")
    groups.close()
    return groups.kind != "none"


needs_groups = pytest.mark.skipif(not groups_work(), reason="no writable cgroup on this machine")


@needs_groups
def test_too_much_memory_ends_the_sandbox_with_that_reason(host: HostProcess) -> None:
    made = host.create("script-1c-256m")
    with pytest.raises((e2b.SandboxNotRunningException, e2b.CommandExitException)):
        made.commands.run("python3 -c 'b = bytearray(900 << 20)'")
    assert eventually(lambda: host.reason(made.sandbox_id)) == "memory"
    status, facts = host.call("GET", f"/sandboxes/{made.sandbox_id}/tombstone")
    assert status == 200
    assert facts["seconds"] >= 0
    assert facts["at"] > 0
    assert host.call("GET", f"/sandboxes/{made.sandbox_id}")[0] == 404


@needs_groups
def test_a_starved_sandbox_lives_on_for_its_work_to_be_saved(host: HostProcess) -> None:
    made = host.create("script-1c-256m")
    # Whatever lies in the way of the mark is not followed.
    made.commands.run("ln -s /home/user/evil /run/envd/out-of-memory; echo work > ~/work")
    with pytest.raises(e2b.CommandExitException):
        made.commands.run("python3 -c 'b = bytearray(900 << 20)'")
    assert made.commands.run("cat ~/work; ls ~").stdout == "work\nwork\n"
    assert eventually(lambda: host.reason(made.sandbox_id)) == "memory"
    marked = host.create("script-1c-256m")
    with pytest.raises(e2b.CommandExitException):
        marked.commands.run("python3 -c 'b = bytearray(900 << 20)'")
    assert marked.commands.run("ls /run/envd").stdout.split().count("out-of-memory") == 1
    marked.kill()


@needs_groups
def test_files_in_memory_count_as_memory(host: HostProcess) -> None:
    made = host.create("script-1c-256m")
    # Files stay when a process is killed for them: the kernel goes on until the sandbox's own daemon is dead.
    with pytest.raises(e2b.SandboxException):
        made.commands.run("head -c 900M /dev/zero > /tmp/x")
    assert eventually(lambda: host.reason(made.sandbox_id)) == "memory"


@needs_groups
def test_a_fork_bomb_is_contained(host: HostProcess, sandbox: Any) -> None:
    made = host.create()
    init = host.record(made.sandbox_id)["init"][0]
    made.commands.run("bomb() { bomb | bomb & }; bomb; sleep 60", background=True)
    eventually(lambda: len(members(init)) > 200)
    assert len(members(init)) <= Settings.pids
    assert sandbox.commands.run("echo unharmed").stdout == "unharmed\n"
    assert made.kill() is True


def test_a_full_disk_is_the_sandboxs_own(host: HostProcess, sandbox: Any) -> None:
    if not host.record(sandbox.sandbox_id)["mounted"]:
        pytest.skip("disk images need root")
    free = os.statvfs(host.state).f_bavail
    answer = sandbox.commands.run("head -c 400M /dev/zero 2>&1 > ~/big; df --output=avail ~ | tail -1").stdout
    assert "No space left" in answer
    assert os.statvfs(host.state).f_bavail > free // 2
    sandbox.commands.run("rm ~/big; echo fine > ~/small")
    assert sandbox.files.read("small") == "fine\n"


def test_temporary_folders_have_a_size(sandbox: Any) -> None:
    sizes = sandbox.commands.run("df --output=size -BM /tmp /dev/shm | tail -n +2").stdout.split()
    assert sizes == ["1024M", "1024M"]


def test_events_tell_how_limits_are_kept(host: HostProcess, sandbox: Any) -> None:
    status, facts = host.call("GET", f"/sandboxes/{sandbox.sandbox_id}/events")
    assert status == 200
    assert facts["oomKills"] == 0
    assert facts["isolation"] in ("v1", "v2", "none")


def test_a_dead_daemon_is_a_crash(host: HostProcess) -> None:
    made = host.create()
    os.kill(host.record(made.sandbox_id)["init"][0], 9)
    assert eventually(lambda: host.reason(made.sandbox_id)) == "crashed"
    assert not made.is_running()


def test_the_watchdog_counts_and_stops_processes_without_cgroups(host: HostProcess, sandbox: Any) -> None:
    bare = Bare()
    bare.adopt(host.record(sandbox.sandbox_id)["init"][0])
    bare.limit(1, 4096, 100)
    assert bare.oom_kills() == 0
    assert bare.cpu_seconds() > 0
    assert len(bare.pids()) >= 2
    bare.freeze()
    assert bare.pids()
    assert sandbox_is_stopped(bare)
    bare.thaw()
    assert sandbox.commands.run("echo on").stdout == "on\n"
    bare.limit(1, 1, 100)
    assert bare.oom_kills() == 1


def sandbox_is_stopped(bare: Bare) -> bool:
    return {stat_fields(pid)[0] for pid in bare.pids()} == {"T"}
