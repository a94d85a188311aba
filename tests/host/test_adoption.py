"""A host that dies and comes back, and what is left when everything has ended."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from tests.host.hosts import HostProcess, eventually


def again(made: Any, host: HostProcess) -> Any:
    """The same sandbox through the host's new address."""
    return host.sdk().Sandbox.connect(made.sandbox_id)


def test_sandboxes_survive_a_killed_host(own_host: HostProcess) -> None:
    own_host.start()
    made = own_host.create(metadata={"who": "mia"}, envs={"COLOUR": "red"})
    made.commands.run("while :; do date +%s%N > ~/new; mv ~/new ~/tick; sleep 0.02; done", background=True)
    eventually(lambda: made.files.exists("tick"))
    own_host.stop(signal.SIGKILL)
    own_host.start()
    back = again(made, own_host)
    before = back.files.read("tick")
    eventually(lambda: back.files.read("tick") not in ("", before))
    assert back.get_info().metadata == {"who": "mia"}
    assert back.commands.run("echo $COLOUR").stdout == "red\n"
    assert back.kill() is True


def test_the_way_out_works_after_a_restart(own_host: HostProcess) -> None:
    own_host.start()
    made = own_host.create(allow_internet_access=False)
    own_host.stop(signal.SIGKILL)
    own_host.start()
    said = again(made, own_host).commands.run("curl -sS http://example.invalid.1.1.1.1/ http://1.1.1.1/ || true").stdout
    assert "without internet access" in said


def test_a_stopped_host_leaves_sandboxes_running_and_adopts_them_paused(own_host: HostProcess) -> None:
    own_host.start()
    made = own_host.create()
    made.pause()
    own_host.stop()
    own_host.start()
    assert own_host.call("GET", f"/sandboxes/{made.sandbox_id}")[1]["state"] == "paused"
    assert again(made, own_host).commands.run("echo back").stdout == "back\n"


def test_what_expired_or_died_meanwhile_is_ended_with_its_reason(own_host: HostProcess) -> None:
    own_host.start()
    expired, dead = own_host.create(timeout=1), own_host.create()
    end = time.time() + 1
    init = own_host.record(dead.sandbox_id)["init"][0]
    own_host.stop(signal.SIGKILL)
    os.kill(init, signal.SIGKILL)
    eventually(lambda: time.time() > end)
    own_host.start()
    assert eventually(lambda: own_host.reason(expired.sandbox_id)) == "timeout"
    assert eventually(lambda: own_host.reason(dead.sandbox_id)) == "crashed"
    eventually(lambda: not own_host.leftovers())


def test_a_recycled_pid_is_not_taken_for_the_sandbox(own_host: HostProcess) -> None:
    own_host.start()
    made = own_host.create()
    own_host.stop()
    path = own_host.state / "sandboxes" / made.sandbox_id / "record.json"
    path.write_text(path.read_text().replace('"init": [', '"init": [1, 1], "was": ['))
    text = path.read_text()
    assert '"was"' in text
    path.write_text(text.partition(', "was"')[0] + text.partition(', "was"')[2].partition("]")[2])
    own_host.start()
    assert own_host.reason(made.sandbox_id) == "crashed"
    eventually(lambda: not own_host.leftovers())


def test_a_half_made_sandbox_and_strange_folders_are_swept(own_host: HostProcess) -> None:
    stray = own_host.state / "sandboxes" / "istray"
    (stray / "disk").mkdir(parents=True)
    (stray / "record.json").write_text("{broken")
    own_host.start()
    assert not stray.exists()


def test_sweep_ends_everything_of_one_state_folder(own_host: HostProcess) -> None:
    own_host.start()
    own_host.create()
    own_host.create()
    own_host.stop(signal.SIGKILL)
    assert own_host.leftovers()
    assert own_host.sweep() == "2 sandboxes ended and removed\n"
    assert own_host.leftovers() == []


def test_kill_on_exit_leaves_nothing(tmp_path: Path) -> None:
    host = HostProcess(tmp_path / "state", "--pool", "1", "--kill-on-exit", "--disk-mb", "300").start()
    host.create()
    host.stop()
    assert host.leftovers() == []


def test_a_host_stopped_in_the_middle_of_a_boot_leaves_nothing(tmp_path: Path) -> None:
    host = HostProcess(tmp_path / "state", "--pool", "4", "--disk-mb", "300").start()
    eventually(lambda: list((host.state / "sandboxes").iterdir()))
    host.stop()
    assert host.leftovers() == []
