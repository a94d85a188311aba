"""The tables that all migrations make, made once: each database of the tests is a copy of them.

Migrating takes seconds, and every process of a run and every stack has a database of its own. What is kept goes by a
digest of the migrations and of what is installed, so that changed ones are never answered with an old copy.
"""

import fcntl
import hashlib
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import environ
import psycopg
from django.core.management import call_command
from django.db import connection
from psycopg.sql import SQL, Identifier

from codecourier.postgres import programs
from tests.embedded_postgres import STATE

ROOT = Path(__file__).resolve().parent.parent
EXISTS = "SELECT 1 FROM pg_database WHERE datname = %s"


def name() -> str:
    """What today's migrations lead to is known by this name."""
    files = [ROOT / "uv.lock", *sorted(ROOT.glob("*/migrations/*.py"))]
    digest = hashlib.sha256(b"".join(bytes(file) + file.read_bytes() for file in files))
    return f"migrated_{digest.hexdigest()[:16]}"


def kept() -> Path:
    """The same as statements, for servers of their own."""
    return STATE / f"{name()}.sql"


def template(address: str) -> str:
    """The name of a migrated database of the tests' server, to make others from; made by the first that asks."""
    wanted = name()
    with (STATE / "migrated.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with psycopg.connect(address, autocommit=True) as server:
            if not (kept().exists() and server.execute(EXISTS, [wanted]).fetchone()):
                make(server, address, wanted)
    return wanted


def make(server: "psycopg.Connection[tuple[str]]", address: str, wanted: str) -> None:
    """Migrate a draft, keep it as text as well, and only then give it its name; older ones go."""
    draft = f"{wanted}_draft"
    for (old,) in server.execute("SELECT datname FROM pg_database WHERE datname LIKE 'migrated%'").fetchall():
        server.execute(SQL("DROP DATABASE {} (FORCE)").format(Identifier(old)))
    server.execute(SQL("CREATE DATABASE {}").format(Identifier(draft)))
    migrate(at(address, draft))
    dump(at(address, draft), kept())
    server.execute(SQL("ALTER DATABASE {} RENAME TO {}").format(Identifier(draft), Identifier(wanted)))


def migrate(address: str) -> None:
    """All migrations."""
    with using(address):
        call_command("migrate", verbosity=0)


@contextmanager
def using(address: str) -> Iterator[None]:
    """This process's connection goes to another database meanwhile."""
    before = connection.settings_dict.copy()
    connection.close()
    connection.settings_dict.update(environ.Env.db_url_config(address))
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict.clear()
        connection.settings_dict.update(before)


def at(address: str, database: str) -> str:
    """The address of another database of the same server."""
    server, _, options = address.partition("?")
    return f"{server.rpartition('/')[0]}/{database}?{options}"


def dump(address: str, file: Path) -> None:
    """Keep a database as statements."""
    for old in file.parent.glob("migrated_*.sql"):
        old.unlink()
    command = [str(programs.folder() / "pg_dump"), "--no-owner", "--inserts", "--rows-per-insert=500", address]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    # What psql alone understands starts with a backslash.
    file.write_text("\n".join(line for line in said.splitlines() if not line.startswith("\\")))


def fill(address: str) -> None:
    """Bring an own server's database to where the migrations lead: from the kept copy, where there is one."""
    with psycopg.connect(address, autocommit=True) as database:
        empty = database.execute("SELECT to_regclass('django_migrations')").fetchone() == (None,)
        if empty and kept().exists():
            database.execute(kept().read_bytes())
            return
    migrate(address)
