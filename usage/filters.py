"""What a report is asked for, by its URL: a span of days in the viewer's time zone, and what it is narrowed to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from urllib.parse import urlencode
from zoneinfo import ZoneInfo, available_timezones

from django.db.models import Min, Q
from django.utils import timezone

from codecourier.models import Project

from .models import Rollup

SPANS = {
    "month": "This month", "last-month": "Last month", "7": "7 days", "30": "30 days", "90": "90 days",
    "365": "12 months", "all": "All",
}  # fmt: skip
# By the name in the URL: heading, and the column of `Work` and `Entry`.
DIMENSIONS = {
    "project": ("Project", "project_id"), "person": ("Person", "person_id"), "service": ("Service", "service"),
    "model": ("Model", "model"), "workflow": ("Workflow", "workflow"), "persona": ("Persona", "persona"),
    "role": ("Role", "role"), "kind": ("Kind", "kind"), "source": ("Source", "source"),
    "activity": ("Activity", "activity"),
}  # fmt: skip
NUMBERS = {"project", "person"}
# Single things, for the rows behind a number.
SINGLE = ("run", "sandbox")
STEPS = {"day": 1, "week": 7, "month": 31}
NONE = "none"
FIRST = date(2000, 1, 1)


@dataclass
class Asked:
    """A report's question; what could not be understood is left out and said in `problems`."""

    zone: ZoneInfo
    today: date
    project: Project | None = None
    span: str = "month"
    first: date = FIRST
    last: date = FIRST
    step: str = "day"
    split: str = "model"
    chosen: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def start(self) -> datetime:
        """The first moment."""
        return self.midnight(self.first)

    @property
    def end(self) -> datetime:
        """The moment after the last one."""
        return self.midnight(self.last + timedelta(days=1))

    def midnight(self, day: date) -> datetime:
        """When a day begins where the viewer is, whatever the clocks did the night before."""
        return datetime.combine(day, time(), self.zone).astimezone(UTC)

    @cached_property
    def before(self) -> tuple[datetime, datetime] | None:
        """As many days before, of a month the same days of the one before; None where nothing was before."""
        if self.span == "all":
            return None
        if self.span in {"month", "last-month"}:
            first = month_before(self.first)
            last = min(first + (self.last - self.first), self.first - timedelta(days=1))
            last = self.first - timedelta(days=1) if self.span == "last-month" else last
            return self.midnight(first), self.midnight(last + timedelta(days=1))
        return self.midnight(self.first - (self.last - self.first) - timedelta(days=1)), self.start

    @cached_property
    def buckets(self) -> list[date]:
        """The first day of each bar of the trend."""
        if self.step == "month":
            days = {day.replace(day=1) for day in self.days}
        else:
            days = {day - timedelta(days=day.weekday()) for day in self.days} if self.step == "week" else {*self.days}
        return sorted(max(day, self.first) for day in days)

    @property
    def days(self) -> list[date]:
        """All of them."""
        return [self.first + timedelta(days=number) for number in range((self.last - self.first).days + 1)]

    def works(self) -> Q:
        """What it is narrowed to, as columns of `Work`; those of `Entry` have the same names."""
        found = Q(project=self.project) if self.project else Q()
        for name, value in self.chosen.items():
            if name in DIMENSIONS:
                found &= Q(**{DIMENSIONS[name][1]: _value(name, value)})
        return found

    def entries(self) -> Q:
        """The rows of the ledger that it is about."""
        single = Q(**{f"{name}_id": int(self.chosen[name]) for name in SINGLE if name in self.chosen})
        return self.works() & single & Q(at__gte=self.start, at__lt=self.end)

    def query(self, **changes: str | None) -> str:
        """The URL's question with changes; None leaves something away."""
        given: dict[str, str | None] = {
            **({"from": self.first.isoformat(), "until": self.last.isoformat()} if self.span == "days" else {}),
            **({"span": self.span} if self.span not in {"days", "month"} else {}),
            **({"split": self.split} if self.split != default_split(self.project) else {}),
            **self.chosen,
        }
        if changes.keys() & {"span", "from", "until"}:
            given = {name: value for name, value in given.items() if name not in {"span", "from", "until"}}
        return urlencode({name: value for name, value in {**given, **changes}.items() if value})


def asked(params: Mapping[str, str], zone: str, project: Project | None = None, now: datetime | None = None) -> Asked:
    """The question of a URL, of a viewer in that time zone."""
    here = zone_of(params.get("zone") or zone)
    found = Asked(here, (now or timezone.now()).astimezone(here).date(), project)
    choose_days(found, params)
    split = params.get("split", "")
    found.split = split if split in DIMENSIONS and (split != "project" or project is None) else default_split(project)
    for name in (*DIMENSIONS, *SINGLE):
        if value := params.get(name, "").strip():
            choose(found, name, value)
    step = params.get("by", "")
    days = (found.last - found.first).days
    found.step = step if step in STEPS else "day" if days <= 62 else "week" if days <= 400 else "month"
    return found


def default_split(project: Project | None) -> str:
    """What is shown first."""
    return "model" if project else "project"


def zone_of(name: str) -> ZoneInfo:
    """A time zone by its name; UTC for one that there is not."""
    return ZoneInfo(name) if name in available_timezones() else ZoneInfo("UTC")


def choose_days(found: Asked, params: Mapping[str, str]) -> None:
    """From when until when."""
    first, last = (day_of(found, params.get(name, "")) for name in ("from", "until"))
    if first or last:
        found.first, found.last = first or last or found.today, last or found.today
        found.span = "days"
        if found.first > found.last:
            found.problems.append(f"{found.first} is after {found.last}: the days were exchanged.")
            found.first, found.last = found.last, found.first
        if (found.last - found.first).days > 3660:
            found.first = found.last - timedelta(days=3660)
            found.problems.append(f"At most ten years are shown: these begin on {found.first}.")
        return
    span = params.get("span", "month")
    if span not in SPANS:
        found.problems.append(f"There is no span {span[:20]!r}; this month is shown.")
        span = "month"
    found.span = span
    found.first, found.last = days_of(found, span)


def days_of(found: Asked, span: str) -> tuple[date, date]:
    """The first and the last day of a span with a name."""
    today = found.today
    if span == "month":
        return today.replace(day=1), today
    if span == "last-month":
        return month_before(today), today.replace(day=1) - timedelta(days=1)
    if span == "all":
        rows = Rollup.objects.filter(project=found.project) if found.project else Rollup.objects.all()
        first = rows.aggregate(first=Min("slot"))["first"]
        return (first.astimezone(found.zone).date() if first else today), today
    return today - timedelta(days=int(span) - 1), today


def day_of(found: Asked, text: str) -> date | None:
    """A day of the URL."""
    try:
        day = date.fromisoformat(text) if text else None
    except ValueError:
        found.problems.append(f"{text[:20]!r} is no day: write it like {found.today.isoformat()}.")
        return None
    if day and not FIRST <= day <= date(2200, 1, 1):
        found.problems.append(f"{day} is too far away to have been used.")
        return None
    return day


def choose(found: Asked, name: str, value: str) -> None:
    """Narrow down to one value; of a project's report the project is given."""
    if name == "project" and found.project:
        return
    if name in NUMBERS | set(SINGLE) and value != NONE and not (value.isdecimal() and len(value) < 18):
        found.problems.append(f"{value[:20]!r} is no number of a {name}; it was left out.")
        return
    if name in SINGLE and value == NONE:
        return
    found.chosen[name] = value[:200]


def _value(name: str, value: str) -> int | str | None:
    if name in NUMBERS:
        return None if value == NONE else int(value)
    return "" if value == NONE else value.replace("\0", "")


def month_before(day: date) -> date:
    """The first day of the month before a day's."""
    return (day.replace(day=1) - timedelta(days=1)).replace(day=1)
