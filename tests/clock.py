"""A wall clock that stands still until a test sets it, in every process of the portal.

The times of a scripted day are then what the script says, to the microsecond, and its bill can be reckoned by hand.
Only what the portal writes down goes by it: waiting goes by other clocks, and machines have their own.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from django.utils import timezone

# Where a process that is started with it reads the time.
VARIABLE = "TEST_CLOCK"


class Clock:
    """The moment is a file's text, replaced as a whole."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> datetime:
        """What it shows."""
        return datetime.fromisoformat(self.path.read_text())

    def set(self, moment: datetime) -> None:
        """For all processes at once."""
        new = self.path.with_suffix(".new")
        new.write_text(moment.isoformat())
        new.rename(self.path)


_here: Clock | None = Clock(Path(os.environ[VARIABLE])) if VARIABLE in os.environ else None


def now() -> datetime:
    """Instead of `timezone.now`; the queue's bookkeeping, which waits until time has passed, goes on as ever."""
    if _here is None or sys._getframe(1).f_globals["__name__"].startswith("django_q."):
        return datetime.now(UTC)
    return _here.read()


def install() -> None:
    """Before any model takes it for a default."""
    timezone.now = now


@contextmanager
def standing(path: Path, moment: datetime) -> Iterator[Clock]:
    """For this process, and for those that are given the path as `VARIABLE`."""
    global _here
    _here = clock = Clock(path)
    clock.set(moment)
    try:
        yield clock
    finally:
        _here = None
