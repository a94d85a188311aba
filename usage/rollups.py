"""Sums of the ledger: added to with each entry, made anew by command, compared with the rows on schedule."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from django.db import connection, transaction
from django.utils import timezone

from .models import Check, Entry, Rollup, RunSum, Work

LOCK = 0x2011
SLOT = "date_bin('15 minutes'::interval, at, TIMESTAMPTZ '2000-01-01 00:00+00')"
MACHINES = "('vcpu_seconds', 'gib_seconds')"


def _sum(where: str, scale: int = 1) -> str:
    return f"coalesce(sum(quantity * {scale}) FILTER (WHERE {where}), 0)::bigint"


SUMS = {
    "cost": "coalesce(sum(cost), 0)",
    **{name: _sum(f"metric = '{name}'") for name in ("input", "output", "cache_read")},
    "cache_write": _sum("metric LIKE 'cache_write%%'"),
    "vcpu_us": _sum("metric = 'vcpu_seconds'", 1_000_000),
    "gib_us": _sum("metric = 'gib_seconds'", 1_000_000),
    "unpriced_tokens": _sum(f"cost IS NULL AND metric NOT IN {MACHINES}"),
    "unpriced_us": _sum("cost IS NULL AND metric = 'vcpu_seconds'", 1_000_000),
}


def _columns(names: Sequence[str], of: str = "") -> str:
    return ", ".join(f"{of}.{name}" if of else name for name in names)


def _key(dimensions: Sequence[str]) -> str:
    return f"md5(ROW({_columns(dimensions)})::text)::uuid"


def _more(table: str) -> str:
    return ", ".join(f"{name} = {table}.{name} + EXCLUDED.{name}" for name in Rollup.MEASURES)


W, R = _columns(Work.DIMENSIONS), _columns(RunSum.DIMENSIONS)
WORK, RUN = _key(Work.DIMENSIONS), _key(RunSum.DIMENSIONS)
WORKS = f"""
    INSERT INTO usage_work (key, {W}) SELECT {WORK} AS key, {W}
    FROM (SELECT DISTINCT {W} FROM usage_entry WHERE {{where}}) new ORDER BY 1 ON CONFLICT (key) DO NOTHING
"""  # noqa: S608
# In one order: two that add to the same sums don't wait for each other crosswise.
SLOTS = f"""
    INSERT INTO usage_rollup (slot, work_id, project_id, {_columns(Rollup.MEASURES)})
    SELECT slot, work.id, work.project_id, {_columns(Rollup.MEASURES)} FROM (
        SELECT {SLOT} AS slot, {WORK} AS key, {_columns([f"{sql} AS {name}" for name, sql in SUMS.items()])}
        FROM usage_entry WHERE {{where}} GROUP BY 1, 2
    ) sums JOIN usage_work work USING (key) ORDER BY 1, 2
    ON CONFLICT (slot, work_id) DO UPDATE SET {_more("usage_rollup")}
"""  # noqa: S608
RUNS = f"""
    INSERT INTO usage_runsum AS kept (key, {R}, cost, unpriced, first_at, last_at)
    SELECT {RUN} AS key, {R}, coalesce(sum(cost), 0), coalesce(sum(quantity) FILTER (WHERE cost IS NULL), 0),
        min(at), max(at)
    FROM usage_entry WHERE run_id IS NOT NULL AND {{where}} GROUP BY {R} ORDER BY 1
    ON CONFLICT (key) DO UPDATE SET cost = kept.cost + EXCLUDED.cost, unpriced = kept.unpriced + EXCLUDED.unpriced,
        first_at = least(kept.first_at, EXCLUDED.first_at), last_at = greatest(kept.last_at, EXCLUDED.last_at)
"""  # noqa: S608
# By day, project and person: what the rows say, what the sums say, and where they differ.
SAID = f"""
    SELECT day, project_id, person_id, {_columns([*SUMS.values()])}
    FROM usage_entry WHERE day >= %(since)s GROUP BY 1, 2, 3
"""  # noqa: S608
KEPT = f"""
    SELECT (slot AT TIME ZONE 'UTC')::date AS day, work.project_id, work.person_id,
        {", ".join(f"sum({name})" + ("" if name == "cost" else "::bigint") for name in SUMS)}
    FROM usage_rollup JOIN usage_work work ON work.id = work_id WHERE slot >= %(start)s GROUP BY 1, 2, 3
"""  # noqa: S608
DIFFERENT = f"""
    WITH said AS ({SAID}), kept AS ({KEPT}) SELECT DISTINCT day FROM (
        (SELECT * FROM said EXCEPT SELECT * FROM kept) UNION ALL (SELECT * FROM kept EXCEPT SELECT * FROM said)
    ) different ORDER BY 1
"""  # noqa: S608
RUNS_DIFFER = """
    WITH said AS (SELECT run_id, coalesce(sum(cost), 0) AS cost FROM usage_entry WHERE run_id IS NOT NULL GROUP BY 1),
        kept AS (SELECT run_id, sum(cost) AS cost FROM usage_runsum GROUP BY 1)
    SELECT 1 FROM said FULL JOIN kept USING (run_id) WHERE said.cost IS DISTINCT FROM kept.cost LIMIT 1
"""


def add(entries: Sequence[Entry]) -> None:
    """Add new entries to the sums, in the transaction that wrote them."""
    if entries:
        ids = [[entry.pk for entry in entries]]
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [LOCK])
            for statement in (WORKS, SLOTS, RUNS):
                cursor.execute(statement.format(where="id = ANY(%s)"), ids)


def rebuild(first: date | None = None, last: date | None = None) -> int:
    """Make the sums of some days (UTC) anew, and with none given those of all days and runs; the number of sums by day.

    Nothing is entered meanwhile.
    """
    whole = first is None and last is None
    first, last = first or date(2000, 1, 1), last or date(9999, 12, 30)
    span = [midnight(first), midnight(last + timedelta(days=1))]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        cursor.execute("DELETE FROM usage_rollup WHERE slot >= %s AND slot < %s", span)
        cursor.execute(WORKS.format(where="at >= %s AND at < %s"), span)
        cursor.execute(SLOTS.format(where="at >= %s AND at < %s"), span)
        count = int(cursor.rowcount)
        if whole:
            cursor.execute("DELETE FROM usage_runsum")
            cursor.execute(RUNS.format(where="at >= %s AND at < %s"), span)
    return count


def compare(since: date | None = None) -> list[str]:
    """Where rows and sums disagree: days (UTC) from one on; without one all days, and "runs"."""
    from_day = since or date(2000, 1, 1)
    with connection.cursor() as cursor:
        cursor.execute(DIFFERENT, {"since": from_day, "start": midnight(from_day)})
        found = [day.isoformat() for (day,) in cursor.fetchall()]
        if since is None:
            cursor.execute(RUNS_DIFFER)
            found += ["runs"] * len(cursor.fetchall())
    return found


def check(since: date | None = None) -> list[str]:
    """Compare, and keep what was found for the pages that show sums."""
    found = compare(since)
    if since is not None:
        known = [place for row in Check.objects.all() for place in row.days]
        found = sorted({*found, *(place for place in known if place == "runs" or place < since.isoformat())})
    Check.objects.update_or_create(pk=1, defaults={"at": timezone.now(), "days": found})
    return found


def midnight(day: date) -> datetime:
    """When a day begins in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
