"""What a report shows, from the sums of the ledger: totals, trend, a split, runs, iterations, pull requests."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection
from django.db.models import Count, Max, Min, QuerySet, Sum
from django.utils import timezone

from codecourier import registries
from codecourier.models import Project, User
from sandboxes.agents import AGENTS
from sandboxes.models import Kind, PullRequest, Sandbox, Turn

from . import running
from .filters import DIMENSIONS, NONE, NUMBERS, Asked
from .models import Check, Entry, Rate, Rollup, RunSum, Work

TOP, ROWS = 10, 100
# So many runs are looked at for what an iteration is worth.
JUDGED = 2_000
LABELS = {
    "service": dict(Rate.Service.choices), "kind": dict(Kind.choices), "activity": dict(Entry.Activity.choices),
    "role": {}, "source": {},
}  # fmt: skip
MACHINES = "Machine time"
# Of one side of a comparison.
SUMMED = """
    coalesce(sum(cost), 0), coalesce(sum(input), 0), coalesce(sum(cache_read), 0), coalesce(sum(cache_write), 0),
    coalesce(sum(output), 0), coalesce(sum(vcpu_us), 0), coalesce(sum(unpriced_tokens), 0),
    coalesce(sum(unpriced_us), 0)
"""


# By the split's value, by activity, what has no price, and all of it: of sums that are read once.
PARTS = f"""
    WITH sums AS MATERIALIZED (
        SELECT work_id, sum(cost) AS cost, sum(input)::bigint AS input, sum(cache_read)::bigint AS cache_read,
            sum(cache_write)::bigint AS cache_write, sum(output)::bigint AS output, sum(vcpu_us)::bigint AS vcpu_us,
            sum(unpriced_tokens)::bigint AS unpriced_tokens, sum(unpriced_us)::bigint AS unpriced_us
        FROM usage_rollup WHERE slot >= %s AND slot < %s {{where}} GROUP BY 1
    ), work AS MATERIALIZED (
        SELECT coalesce(usage_work.{{column}}::text, '') AS value, activity, service || chr(10) || model AS named,
            sums.*
        FROM sums JOIN usage_work ON usage_work.id = work_id
    )
    SELECT 'split', value, {SUMMED} FROM work GROUP BY 2 UNION ALL
    SELECT 'activity', activity, sum(cost), 0, 0, 0, 0, 0, 0, 0 FROM work GROUP BY 2 UNION ALL
    SELECT 'unpriced', named, {SUMMED} FROM work WHERE unpriced_tokens > 0 OR unpriced_us > 0 GROUP BY 2 UNION ALL
    SELECT 'total', '', {SUMMED} FROM work
"""  # noqa: S608


@dataclass(frozen=True)
class Sums:
    """Of some work. Tokens by how they are paid, machine time in microseconds of a vCPU."""

    cost: Decimal = Decimal(0)
    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    vcpu_us: int = 0
    unpriced_tokens: int = 0
    unpriced_us: int = 0

    @property
    def taken(self) -> int:
        """Tokens of input in all, cached or not."""
        return self.input + self.cache_read + self.cache_write

    @property
    def cached(self) -> int:
        """Percent of the input that came from a cache."""
        return round(100 * self.cache_read / self.taken) if self.taken else 0

    @property
    def hours(self) -> float:
        """vCPU hours."""
        return self.vcpu_us / 3_600_000_000

    @property
    def whole(self) -> bool:
        """Whether all of it had a price."""
        return not self.unpriced_tokens and not self.unpriced_us


@dataclass(frozen=True)
class Line:
    """A row of the split."""

    value: str
    label: str
    sums: Sums
    share: float
    query: str


def report(asked: Asked) -> dict[str, Any]:
    """Everything on the page."""
    parts = summed(asked)
    total = parts["total"][""]
    labels = labels_of(asked.split, parts["split"])
    lines, (bars, past) = split(asked, parts["split"], total, labels), trend(asked)
    return {
        "asked": asked,
        "total": total,
        "before": past,
        "change": round(100 * (total.cost / past - 1)) if past else None,
        "lines": lines,
        "more": max(0, len(parts["split"]) - ROWS),
        "unpriced": [(*key.split("\n", 1), sums) for key, sums in parts["unpriced"].items()],
        "activities": parts["activity"],
        "idle": parts["activity"].get("idle", Sums()).cost,
        "orphan": parts["activity"].get("orphan", Sums()).cost,
        "trend": bars,
        "now": now(asked),
        "check": Check.objects.first(),
        "chips": chips(asked, labels),
    }


def summed(asked: Asked) -> dict[str, dict[str, Sums]]:
    """Sums by part of the page and value, in one look at what it is about."""
    where, params = narrowed(asked)
    sql = PARTS.format(column=DIMENSIONS[asked.split][1], where=where)
    found: dict[str, dict[str, Sums]] = {"split": {}, "activity": {}, "total": {}, "unpriced": {}}
    with connection.cursor() as cursor:
        # With the server's few megabytes, years are sorted on disk to be summed.
        cursor.execute("SET work_mem = '64MB'")
        cursor.execute(sql, [asked.start, asked.end, *params])
        for part, value, *sums in cursor.fetchall():
            found[part][value] = Sums(sums[0], *map(int, sums[1:]))
    return found


def narrowed(asked: Asked) -> tuple[str, list[Any]]:
    """A condition on sums, with its parameters; those of a project have an index of their own."""
    mine = (" AND project_id = %s", [asked.project.pk]) if asked.project else ("", [])
    if not asked.chosen:
        return mine
    sql, params = Work.objects.filter(asked.works()).order_by().values("pk").query.sql_with_params()
    return f"{mine[0]} AND work_id IN ({sql})", [*mine[1], *params]


def trend(asked: Asked) -> tuple[list[dict[str, Any]], Decimal | None]:
    """By day, week or month of the viewer: USD of models and of machines; and in all of the days before, if asked."""
    where, params = narrowed(asked)
    earlier = [*asked.before] if asked.before else []
    edges = [*earlier, *(asked.midnight(day) for day in asked.buckets)]
    sql = f"""
        SELECT width_bucket(slot, %s::timestamptz[]), coalesce(sum(cost) FILTER (WHERE vcpu_us + gib_us = 0), 0),
            coalesce(sum(cost) FILTER (WHERE vcpu_us + gib_us <> 0), 0)
        FROM usage_rollup WHERE slot >= %s AND slot < %s {where} GROUP BY 1
    """  # noqa: S608
    found = defaultdict[int, tuple[Decimal, Decimal]](lambda: (Decimal(0), Decimal(0)))
    with connection.cursor() as cursor:
        cursor.execute(sql, [edges, edges[0], asked.end, *params])
        found |= {number: (models, machines) for number, models, machines in cursor.fetchall()}
    bars = [bar(asked, number, *found[number + len(earlier)]) for number in range(1, len(asked.buckets) + 1)]
    return bars, sum(found[1], Decimal(0)) if earlier else None


def bar(asked: Asked, number: int, models: Decimal, machines: Decimal) -> dict[str, Any]:
    """The n-th bar of the trend, with the question about its days."""
    day, after = asked.buckets[number - 1], asked.buckets[number : number + 1]
    last = after[0] - timedelta(days=1) if after else asked.last
    query = asked.query(**{"span": None, "from": day.isoformat(), "until": last.isoformat()})
    return {"day": day, "last": last, "models": models, "machines": machines, "cost": models + machines, "query": query}


def split(asked: Asked, found: Mapping[str, Sums], total: Sums, labels: Mapping[str, str]) -> list[Line]:
    """The rows of the split, dearest first."""
    ordered = sorted(found.items(), key=lambda item: (-item[1].cost, -item[1].taken, item[0]))[:ROWS]
    return [
        Line(value, labels[value], sums, float(100 * sums.cost / total.cost) if total.cost else 0.0,
             asked.query(**{asked.split: value or NONE}))
        for value, sums in ordered
    ]  # fmt: skip


def labels_of(name: str, values: Iterable[str]) -> dict[str, str]:
    """What the values of a dimension are called."""
    if name == "project":
        return {
            "": "No project",
            **names(values, "project_id", "project_name", Project.objects.values_list("pk", "name")),
        }
    if name == "person":
        known = [(user.pk, str(user)) for user in User.objects.filter(pk__in=[value for value in values if value])]
        return {"": "Nobody in particular", **names(values, "person_id", "person_name", known)}
    nothing = {"model": MACHINES, "workflow": "No workflow", "persona": "No persona", "source": "Not told"}
    known_labels = LABELS.get(name, {})
    return {value: str(known_labels.get(value, value)) or nothing.get(name, "None") for value in values}


def names(values: Iterable[str], column: str, snapshot: str, known: Iterable[tuple[int, str]]) -> dict[str, str]:
    """By number; of what was deleted the name that the ledger has kept."""
    there = {str(pk): name for pk, name in known}
    gone = [int(value) for value in values if value and value not in there]
    kept = (
        Entry.objects.filter(**{f"{column}__in": gone}).order_by().values_list(column).annotate(Max(snapshot))
        if gone
        else ()
    )
    return {
        **there,
        **{str(pk): f"{name} (deleted)" for pk, name in kept},
    }


def chips(asked: Asked, labels: Mapping[str, str]) -> list[dict[str, str]]:
    """What it is narrowed to, each with the question without it."""
    found = []
    for name, value in asked.chosen.items():
        given = "" if value == NONE else value
        known = labels if name == asked.split else labels_of(name, [given]) if name in DIMENSIONS else {}
        heading = DIMENSIONS[name][0] if name in DIMENSIONS else name.title()
        found.append({"heading": heading, "label": known.get(given, given), "query": asked.query(**{name: None})})
    return found


# --- runs, iterations, pull requests ---


def worth(asked: Asked) -> dict[str, Any]:
    """What was had for the money; a part of the page that comes after it."""
    lines = iterations(asked)
    approved, usd = sum(line.approved for line in lines), sum((line.cost for line in lines if line.judged), Decimal(0))
    return {
        "asked": asked,
        "runs": top_runs(asked),
        "per_run": per_run(asked),
        "per_merged": per_merged(asked),
        "per_approved": (approved, usd / approved if approved else None),
        "iterations": lines,
        "untold": untold(asked),
    }


def untold(asked: Asked) -> int | None:
    """How many turns began whose agents never told what they used; None where the report is of a part of the work."""
    if asked.chosen:
        return None
    tools = [tool for tool, agent in AGENTS.items() if agent.structured]
    rows = Turn.objects.filter(
        usage__isnull=True, job__isnull=False, started_at__gte=asked.start, started_at__lt=asked.end
    )
    rows = rows.filter(sandbox__tool__in=tools).exclude(status__in=Turn.OPEN)
    return (rows.filter(sandbox__project=asked.project) if asked.project else rows).count()


def run_sums(asked: Asked) -> QuerySet[RunSum]:
    """Of the runs that began in the span; they are told apart by project, person, workflow and source only."""
    rows = RunSum.objects.filter(first_at__gte=asked.start, first_at__lt=asked.end)
    rows = rows.filter(project=asked.project) if asked.project else rows
    for name in ("project", "person", "workflow", "source"):
        if value := asked.chosen.get(name):
            column = DIMENSIONS[name][1]
            rows = rows.filter(**{column: (None if name in NUMBERS else "") if value == NONE else value})
    return rows.order_by()


def top_runs(asked: Asked) -> list[dict[str, Any]]:
    """The dearest runs."""
    rows = run_sums(asked).values("run_id", "project_id", "workflow")
    dearest = rows.annotate(usd=Sum("cost"), unpriced=Sum("unpriced"), first=Min("first_at"), last=Max("iteration"))
    found = [dict[str, Any](row) for row in dearest.order_by("-usd", "-run_id")[:TOP]]
    projects = {project.pk: project for project in Project.objects.filter(pk__in=[row["project_id"] for row in found])}
    expected = {pk: usd for ask in registries.expectations for pk, usd in ask([row["run_id"] for row in found]).items()}
    for row in found:
        row |= {
            "project": projects.get(row["project_id"]), "query": asked.query(run=str(row["run_id"])),
            "expected": expected.get(row["run_id"]),
        }  # fmt: skip
    return found


def per_run(asked: Asked) -> tuple[int, Decimal | None]:
    """How many runs began, and what one cost on average."""
    sums = run_sums(asked).aggregate(count=Count("run_id", distinct=True), usd=Sum("cost"))
    return sums["count"], sums["usd"] / sums["count"] if sums["count"] else None


def per_merged(asked: Asked) -> tuple[int, Decimal | None]:
    """How many pull requests were merged, and what the work for one cost on average: its run's, else its sandbox's."""
    rows = PullRequest.objects.filter(status="merged", status_at__gte=asked.start, status_at__lt=asked.end)
    rows = rows.filter(project=asked.project) if asked.project else rows
    merged = list(rows.values_list("sandbox_id", "sandbox__labels"))
    runs = {labels["run_id"] for _, labels in merged if type(labels.get("run_id")) is int}
    alone = [pk for pk, labels in merged if type(labels.get("run_id")) is not int]
    usd = RunSum.objects.filter(run_id__in=runs).aggregate(sum=Sum("cost"))["sum"] or Decimal(0)
    usd += Entry.objects.filter(sandbox_id__in=alone).aggregate(sum=Sum("cost"))["sum"] or Decimal(0)
    return len(merged), usd / len(merged) if merged else None


@dataclass
class Iteration:
    """What runs did in their n-th iteration: how many got there, what it cost, how many were approved by it."""

    number: int
    runs: int = 0
    cost: Decimal = Decimal(0)
    judged: int = 0
    approved: int = 0

    @property
    def mean(self) -> Decimal:
        """USD of one."""
        return self.cost / self.runs if self.runs else Decimal(0)

    @property
    def worth(self) -> Decimal | None:
        """What one approval by it cost; None where it approved nothing."""
        return self.cost / self.approved if self.approved else None


def iterations(asked: Asked) -> list[Iteration]:
    """What each further iteration costs, and what it brings: of the newest runs of the span."""
    rows = run_sums(asked).filter(iteration__isnull=False)
    newest = list(rows.values_list("run_id", flat=True).distinct().order_by("-run_id")[:JUDGED])
    rows = rows.filter(run_id__in=newest)
    found, passed = dict[int, Iteration](), verdicts(newest)
    for run, number, usd in rows.values_list("run_id", "iteration").annotate(Sum("cost")).order_by("iteration"):
        line = found.setdefault(number or 0, Iteration(number or 0))
        line.runs += 1
        line.cost += usd
        said = passed.get((run, number or 0))
        line.judged += said is not None
        line.approved += said is True
    return [*found.values()]


def verdicts(runs: Sequence[int]) -> dict[tuple[int, int], bool]:
    """Whether iterations of runs were approved, by (run, iteration)."""
    found = dict[tuple[int, int], bool]()
    for source in registries.verdicts:
        found |= source(runs)
    return found


# --- as it stands just now ---


def now(asked: Asked) -> running.Going | None:
    """What runs now and is in no row yet; None where the question is about less, or about other days."""
    if asked.chosen or asked.end <= timezone.now():
        return None
    rows = Sandbox.objects.filter(status__in=[Sandbox.Status.CREATING, Sandbox.Status.RUNNING])
    return running.going(rows.filter(project=asked.project) if asked.project else rows)


def month_spent(project: Project, at: datetime | None = None) -> tuple[Decimal, list[tuple[date, Decimal]]]:
    """USD of a project this month (UTC), and of each day until now."""
    start = (at or timezone.now()).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    days = defaultdict[date, Decimal](Decimal)
    rows = Rollup.objects.filter(project=project, slot__gte=start).values_list("slot__date").annotate(Sum("cost"))
    for day, usd in rows.order_by():
        days[day] += usd
    last = (at or timezone.now()).date()
    every = [start.date() + timedelta(days=number) for number in range((last - start.date()).days + 1)]
    return sum(days.values(), Decimal(0)), [(day, days[day]) for day in every]
