"""The embedded PostgreSQL, with real servers in folders of their own."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from codecourier import postgres
from tests.deadline import until

PR_SET_CHILD_SUBREAPER = 36
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder whose path is longer than a socket's may be (107 bytes); nothing of its server stays."""
    folder = tmp_path_factory.mktemp("deep") / ("d" * 60) / ("e" * 60)
    yield folder
    postgres.stop(folder)
    subprocess.run(["rm", "-rf", postgres.status(folder).data.parent], check=True)


def pid_of(state: Path) -> int:
    """The server's process."""
    pid = postgres.status(state).pid
    assert pid
    return pid


def socket_folder(state: Path) -> Path:
    """The folder with the server's socket."""
    return Path(str(psycopg.conninfo.conninfo_to_dict(postgres.url(state))["host"]))


def query(state: Path, statement: str) -> list[tuple[object, ...]]:
    """The rows of one statement, committed."""
    with psycopg.connect(postgres.url(state), autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def kill(state: Path) -> int:
    """Kill the server and wait until it does nothing any more."""
    pid = pid_of(state)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not postgres.is_running(state))
    return pid


def test_several_processes_that_need_it_at_once_start_one_server(state: Path) -> None:
    program = (
        f"from pathlib import Path; from codecourier import postgres; print(postgres.ensure(Path({str(state)!r})))"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    assert {process.communicate(timeout=60)[0].strip() for process in started} == {postgres.url(state)}
    assert query(state, "SELECT current_database(), current_user") == [("codecourier", "codecourier")]


def test_a_running_server_is_left_alone(state: Path) -> None:
    postgres.ensure(state)
    before = pid_of(state)
    postgres.ensure(state)
    assert pid_of(state) == before


def test_committed_rows_survive_a_killed_server(state: Path) -> None:
    postgres.ensure(state)
    query(state, "CREATE TABLE kept (n int)")
    query(state, "INSERT INTO kept VALUES (42)")
    kill(state)
    assert not postgres.status(state).up
    postgres.ensure(state)
    assert query(state, "SELECT n FROM kept") == [(42,)]
    assert query(state, "SHOW fsync") == [("on",)]


def test_a_zombie_server_counts_as_dead(state: Path) -> None:
    libc = ctypes.CDLL(None)
    postgres.stop(state)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)  # the server becomes our child, which we don't reap
    try:
        postgres.ensure(state)
        zombie = kill(state)
        until(lambda: Path(f"/proc/{zombie}/stat").read_text().split()[2] == "Z")
        postgres.ensure(state)
        assert pid_of(state) != zombie
    finally:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 0)
    os.waitpid(zombie, 0)
    second = pid_of(state)
    postgres.stop(state)
    os.waitpid(second, 0)


def test_a_process_id_that_now_is_somebody_elses_does_not_hinder(state: Path) -> None:
    postgres.ensure(state)
    postgres.stop(state)
    data = postgres.status(state).data
    (data / "postmaster.pid").write_text(f"{os.getpid()}\n{data}\n1\n5432\n\n\n\n")
    postgres.ensure(state)
    assert pid_of(state) != os.getpid()


def test_only_the_servers_user_may_enter_the_sockets_folder(state: Path) -> None:
    postgres.ensure(state)
    folder = socket_folder(state)
    assert folder.stat().st_mode & 0o077 == 0
    assert query(state, "SHOW listen_addresses") == [("",)]


def test_tests_may_trade_crash_safety_for_speed(state: Path) -> None:
    postgres.stop(state)
    postgres.ensure(state, durable=False)
    assert query(state, "SHOW fsync") == [("off",)]
    postgres.stop(state)


def test_stop_leaves_no_process_and_says_whether_there_was_one(state: Path) -> None:
    postgres.ensure(state)
    with psycopg.connect(postgres.url(state)):  # an open session doesn't hold it up
        assert postgres.stop(state)
    assert not postgres.is_running(state)
    assert not postgres.stop(state)


def test_data_of_another_version_is_refused_with_what_to_do(tmp_path: Path) -> None:
    data = tmp_path / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("9\n")
    with pytest.raises(postgres.PostgresError, match=r"made by PostgreSQL 9, but version \d+ is installed"):
        postgres.ensure(tmp_path)


def test_a_state_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(postgres.PostgresError, match=r"Can't write the state folder .*/file/state"):
        postgres.ensure(tmp_path / "file" / "state")


def test_a_socket_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    folder = socket_folder(tmp_path)
    folder.symlink_to(tmp_path)
    try:
        with pytest.raises(postgres.PostgresError, match="belongs to somebody else"):
            postgres.ensure(tmp_path)
    finally:
        folder.unlink()
        subprocess.run(["rm", "-rf", postgres.status(tmp_path).data.parent], check=True)
