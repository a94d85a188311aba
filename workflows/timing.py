"""When a schedule comes round: pure functions of its rule, with daylight saving as people expect it.

A time of day that the clock leaves out is taken at the next moment that there is; one that comes twice, at the first.
Cron expressions are read by `cronsim`, which does the same for those at fixed hours, as Debian's cron does; those for
every hour or minute go by real time (https://github.com/cuu508/cronsim).
"""

import calendar
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError
from django.core.exceptions import ValidationError

DAILY, OTHER_DAY, WEEKLY, BIWEEKLY, MONTHLY, CRON = "daily", "other_day", "weekly", "biweekly", "monthly", "cron"
PERIODS = {DAILY: 1, OTHER_DAY: 2, WEEKLY: 7, BIWEEKLY: 14}
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
FIELDS = 5


@dataclass(frozen=True)
class Rule:
    """`at` is a time of day in the zone; `starts_on` is the first day, from which the others are counted."""

    every: str
    zone: str = "UTC"
    at: time = time(9)
    starts_on: date = date(2000, 1, 1)
    cron: str = ""


@cache
def zones() -> tuple[str, ...]:
    """Every time zone by name."""
    return tuple(sorted(available_timezones()))


def check_cron(expression: str) -> None:
    """ValidationError says what is wrong with a cron expression, also when it never comes round."""
    if len(expression.split()) != FIELDS:
        raise ValidationError(
            "A cron expression has five fields: minute, hour, day of the month, month, day of the week."
        )
    try:
        next(CronSim(expression, datetime(2000, 1, 1, tzinfo=UTC)))
    except CronSimError as error:
        raise ValidationError(f"{error}. It should look like 30 9 * * MON-FRI.") from error
    except StopIteration:
        raise ValidationError("There is no such day: it would never come round.") from None


def times(rule: Rule, after: datetime) -> Iterator[datetime]:
    """The moments after another one, in UTC, each later than the one before."""
    found = _by_cron(rule, after) if rule.every == CRON else _by_days(rule, after)
    last = after
    for moment in found:
        # Two times of day that are both left out meet at the moment after them.
        if moment > last:
            yield moment
            last = moment


def _by_cron(rule: Rule, after: datetime) -> Iterator[datetime]:
    try:
        for moment in CronSim(rule.cron, after.astimezone(ZoneInfo(rule.zone))):
            yield moment.astimezone(UTC)
    except CronSimError:
        return


def _by_days(rule: Rule, after: datetime) -> Iterator[datetime]:
    zone = ZoneInfo(rule.zone)
    # The day before as well, whose time may have been put off past midnight.
    near = max(after.astimezone(zone).date() - DAY, rule.starts_on)
    for day in months(rule.starts_on, near) if rule.every == MONTHLY else days(rule, near):
        yield at(datetime.combine(day, rule.at), zone)


def days(rule: Rule, near: date) -> Iterator[date]:
    """Every so many days, the last one before `near` first."""
    period = PERIODS[rule.every]
    day = rule.starts_on + timedelta(days=(near - rule.starts_on).days // period * period)
    while True:
        yield day
        day += timedelta(days=period)


def months(start: date, near: date) -> Iterator[date]:
    """The same day of each month, in a shorter one its last day."""
    number = near.year * 12 + near.month - 2
    while True:
        year, month = divmod(number, 12)
        day = date(year, month + 1, min(start.day, calendar.monthrange(year, month + 1)[1]))
        if day >= start:
            yield day
        number += 1


def at(wanted: datetime, zone: ZoneInfo) -> datetime:
    """The moment of a time on a wall clock, in UTC: the first of two, and the next there is instead of one left out."""
    moment = wanted.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None) == wanted:
        return moment
    early = wanted.replace(tzinfo=zone, fold=1).astimezone(UTC)
    offset = early.astimezone(zone).utcoffset()
    return next(
        early + step * MINUTE
        for step in range(48 * 60)
        if (early + step * MINUTE).astimezone(zone).utcoffset() != offset
    )


def words(rule: Rule) -> str:
    """In words, for people."""
    if rule.every == CRON:
        return f"{CronSim(rule.cron, datetime(2000, 1, 1, tzinfo=UTC)).explain()} ({rule.zone})"
    day = f"{rule.starts_on:%A}"
    short = ", on the last day of shorter ones" if rule.starts_on.day > 28 else ""
    which = {
        DAILY: "Every day", OTHER_DAY: "Every other day", WEEKLY: f"Every {day}", BIWEEKLY: f"Every other {day}",
        MONTHLY: f"On day {rule.starts_on.day} of each month{short}",
    }  # fmt: skip
    return f"{which[rule.every]} at {rule.at:%H:%M} ({rule.zone})"
