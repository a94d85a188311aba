"""The warm pool, and many creates at once."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sandboxes.host.pool import Uids
from tests.host.hosts import HostProcess, eventually, pooled


def test_a_create_takes_a_started_one_and_the_pool_is_filled_again(host: HostProcess) -> None:
    ready = eventually(lambda: len(found := pooled(host)) == 2 and found)
    made = host.create()
    assert made.sandbox_id in ready
    assert eventually(lambda: len(found := pooled(host)) == 2 and found) != ready
    made.kill()


def test_twenty_at_once_all_work(host: HostProcess) -> None:
    def use(n: int) -> str:
        made = host.create()
        said = made.commands.run(f"echo {n}").stdout
        made.kill()
        return str(said)

    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(use, range(20))) == [f"{n}\n" for n in range(20)]


def test_two_hosts_take_user_ids_from_different_blocks(tmp_path: Path) -> None:
    first, second = Uids(str(tmp_path / "a")), Uids(str(tmp_path / "b"))
    assert first.first != second.first


def test_a_second_host_on_the_same_folder_is_refused(host: HostProcess) -> None:
    second = HostProcess(host.state)
    done = subprocess.run(second.command(), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Another sandbox host uses" in done.stderr


def test_a_taken_port_is_one_sentence(host: HostProcess, tmp_path: Path) -> None:
    port = host.url.rpartition(":")[2]
    done = subprocess.run(
        HostProcess(tmp_path / "s").command("--port", port), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"Port {port} of 127.0.0.1 cannot be used")
