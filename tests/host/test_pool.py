"""The warm pool, and many creates at once."""

import asyncio
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sandboxes.host.fleet import Fleet
from sandboxes.host.pool import Uids
from sandboxes.host.settings import Settings
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


async def test_a_clean_up_that_ends_as_the_host_does_does_not_keep_it(tmp_path: Path) -> None:
    fleet = Fleet(Settings(tmp_path), "0")
    over = asyncio.Event()

    async def clean() -> None:
        await over.wait()

    clean_up = asyncio.create_task(clean())

    async def settle() -> None:
        await clean_up
        assert fleet.cleaning
        # Without an end, this would never come back.
        await fleet.settle()

    settling = asyncio.create_task(settle())
    await asyncio.sleep(0)
    fleet.cleaning.add(clean_up)
    clean_up.add_done_callback(fleet.cleaning.discard)
    over.set()
    await settling
    assert not fleet.cleaning
