"""The rows of the ledger as CSV and JSON, a stretch at a time and never as a whole in memory."""

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any

from django.db import connections
from django.db.models import Q

from .models import Entry

ROWS = 5_000
COLUMNS = (
    "id", "at", "project_id", "project_name", "person_id", "person_name", "service", "model", "metric", "activity",
    "quantity", "price", "cost", "sandbox_id", "turn_id", "run_id", "step", "iteration", "candidate", "issue",
    "workflow", "persona", "role", "kind", "source", "corrects_id", "recorded_at", "fact",
)  # fmt: skip
type Stretch = list[tuple[Any, ...]]


async def csv_file(rows: Q) -> AsyncIterator[str]:
    """A heading, then a line for each row, oldest entry first; empty cells are nothing."""
    yield written([COLUMNS])
    async for stretch in stretches(rows):
        yield written(stretch)


async def json_file(rows: Q) -> AsyncIterator[str]:
    """A list of objects, one on each line; amounts are texts, so that no digit is lost."""
    before = "["
    async for stretch in stretches(rows):
        yield before + ",".join(
            f"\n{json.dumps(dict(zip(COLUMNS, row, strict=True)), default=plain)}" for row in stretch
        )
        before = ","
    yield "[]\n" if before == "[" else "\n]\n"


def written(lines: Any) -> str:
    """Lines of a CSV file. What a spreadsheet would take for a formula is a text."""
    out = io.StringIO()
    csv.writer(out).writerows([[cell(value) for value in line] for line in lines])
    return out.getvalue()


def cell(value: Any) -> Any:
    """As a spreadsheet reads it, and no formula."""
    if isinstance(value, datetime):
        return value.isoformat()
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t\r" and value else value


def plain(value: Any) -> str:
    """What JSON has no form for."""
    return value.isoformat() if isinstance(value, datetime) else str(value)


async def stretches(rows: Q) -> AsyncIterator[Stretch]:
    """So many rows at a time, by their numbers: nothing is held in the database meanwhile."""
    after = 0
    while found := await in_thread(lambda after=after: stretch(rows, after)):  # type: ignore[misc]
        after = found[-1][0]
        yield found


def stretch(rows: Q, after: int) -> Stretch:
    """The next ones."""
    return list(Entry.objects.filter(rows, pk__gt=after).order_by("pk").values_list(*COLUMNS)[:ROWS])


async def in_thread(work: Callable[[], Stretch]) -> Stretch:
    """Read beside the pages, which are rendered in one thread."""

    def alone() -> Stretch:
        try:
            return work()
        finally:
            connections.close_all()

    return await asyncio.get_running_loop().run_in_executor(None, alone)
