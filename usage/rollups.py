"""Sums of the ledger by quarters of an hour: added to with each entry, rebuilt by command, compared with the rows."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from django.db import connection, transaction
from django.utils import timezone

from .models import Check, Entry, Rollup

LOCK = 0x2011
COLUMNS = {name: name for name in Rollup.DIMENSIONS}
COLUMNS["slot"] = "date_bin('15 minutes'::interval, at, TIMESTAMPTZ '2000-01-01 00:00+00')"
SECONDS = "('vcpu_seconds', 'gib_seconds')"


def _sum(what: str, where: str) -> str:
    return f"coalesce(sum({what}) FILTER (WHERE {where}), 0)"


SUMS = {
    "cost": "coalesce(sum(cost), 0)",
    **{name: _sum("quantity", f"metric = '{name}'") for name in ("input", "output", "cache_read")},
    "cache_write": _sum("quantity", "metric LIKE 'cache_write%%'"),
    "vcpu_seconds": _sum("quantity", "metric = 'vcpu_seconds'"),
    "gib_seconds": _sum("quantity", "metric = 'gib_seconds'"),
    "unpriced_tokens": _sum("quantity", f"cost IS NULL AND metric NOT IN {SECONDS}"),
    "unpriced_seconds": _sum("quantity", "cost IS NULL AND metric = 'vcpu_seconds'"),
}
NAMES = ", ".join([*Rollup.DIMENSIONS, *Rollup.MEASURES])
KEY = f"md5(ROW({', '.join(['extract(epoch from slot)::bigint', *Rollup.DIMENSIONS[1:]])})::text)::uuid"
GROUPED = f"""
    SELECT {", ".join(f"{sql} AS {name}" for name, sql in {**COLUMNS, **SUMS}.items())}
    FROM usage_entry WHERE {{where}} GROUP BY {", ".join(map(str, range(1, len(COLUMNS) + 1)))}
"""  # noqa: S608
# In the order of their keys: two that add to the same sums don't wait for each other crosswise.
ADD = f"""
    INSERT INTO usage_rollup (key, {NAMES}) SELECT {KEY} AS key, {NAMES} FROM ({GROUPED}) grouped ORDER BY 1
    ON CONFLICT (key) DO UPDATE SET {", ".join(f"{name} = usage_rollup.{name} + EXCLUDED.{name}" for name in SUMS)}
"""  # noqa: S608
# By day, project and person: what the rows say, what the sums say, and where they differ.
ROWS = f"""
    SELECT day, project_id, person_id, {", ".join(SUMS.values())}
    FROM usage_entry WHERE day >= %(since)s GROUP BY 1, 2, 3
"""  # noqa: S608
KEPT = f"""
    SELECT (slot AT TIME ZONE 'UTC')::date AS day, project_id, person_id, {", ".join(f"sum({name})" for name in SUMS)}
    FROM usage_rollup WHERE slot >= %(start)s GROUP BY 1, 2, 3
"""  # noqa: S608
COMPARE = f"""
    WITH entries AS ({ROWS}), kept AS ({KEPT}) SELECT DISTINCT day FROM (
        (SELECT * FROM entries EXCEPT SELECT * FROM kept) UNION ALL (SELECT * FROM kept EXCEPT SELECT * FROM entries)
    ) different ORDER BY 1
"""  # noqa: S608


def add(entries: Sequence[Entry]) -> None:
    """Add new entries to the sums, in the transaction that wrote them."""
    if entries:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [LOCK])
            cursor.execute(ADD.format(where="id = ANY(%s)"), [[entry.pk for entry in entries]])


def rebuild(first: date | None = None, last: date | None = None) -> int:
    """Make the sums of some days (UTC) anew, of all without any; the number of sums. Nothing is entered meanwhile."""
    first, last = first or date(2000, 1, 1), last or date(9999, 12, 30)
    start, end = midnight(first), midnight(last + timedelta(days=1))
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        cursor.execute("DELETE FROM usage_rollup WHERE slot >= %s AND slot < %s", [start, end])
        cursor.execute(ADD.format(where="at >= %s AND at < %s"), [start, end])
        return int(cursor.rowcount)


def compare(since: date | None = None) -> list[date]:
    """The days (UTC) on which rows and sums disagree."""
    since = since or date(2000, 1, 1)
    with connection.cursor() as cursor:
        cursor.execute(COMPARE, {"since": since, "start": midnight(since)})
        return [day for (day,) in cursor.fetchall()]


def check(since: date | None = None) -> list[date]:
    """Compare, and keep what was found for the pages that show sums."""
    days = compare(since)
    known = {date.fromisoformat(day) for row in Check.objects.all() for day in row.days}
    kept = days if since is None else sorted({*days, *(day for day in known if day < since)})
    Check.objects.update_or_create(pk=1, defaults={"at": timezone.now(), "days": [day.isoformat() for day in kept]})
    return kept


def midnight(day: date) -> datetime:
    """When a day begins in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
