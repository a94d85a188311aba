"""The tests' database: the embedded server on a state folder of its own, so that `uv run pytest` needs nothing else.

`tests/settings.py` takes the address from `url()`, `tests/conftest.py` runs it. Nothing here imports pytest: the real
processes of a stack read the tests' settings, too, and start faster without. Several runs at once share the server,
each with a database named after its process; the last one to end stops it. With DATABASE_URL set, that server is used
instead.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from codecourier import postgres

STATE = Path(__file__).resolve().parent.parent / "state" / "test"
PREFIX = "test_codecourier_"


def url() -> str:
    """The address of the tests' server, without starting it."""
    return os.environ.get("DATABASE_URL") or postgres.url(STATE)


@contextmanager
def running() -> Iterator[str]:
    """Keep the tests' server up and yield its address; end it with the last run that uses it."""
    if "DATABASE_URL" in os.environ and url() != postgres.url(STATE):
        yield url()
        return
    STATE.mkdir(parents=True, exist_ok=True)
    with (STATE / "users.lock").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        drop_abandoned(postgres.ensure(STATE, durable=False))
        try:
            yield url()
        finally:
            _stop_if_last(users.fileno())


def drop_abandoned(address: str) -> None:
    """Remove the databases of runs whose process is gone: a killed run can't remove its own."""
    with psycopg.connect(address, autocommit=True) as connection:
        names = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE %s", [f"{PREFIX}%"]).fetchall()
        for (name,) in names:
            if not Path("/proc", name.removeprefix(PREFIX)).exists():
                connection.execute(
                    psycopg.sql.SQL("DROP DATABASE IF EXISTS {} (FORCE)").format(psycopg.sql.Identifier(name))
                )


def _stop_if_last(users: int) -> None:
    """Stop the server if no other run holds the lock; a run that starts meanwhile waits for its own share of it."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    postgres.stop(STATE)
