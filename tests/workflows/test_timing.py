"""When schedules come round, over the nights in which clocks change."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from django.core.exceptions import ValidationError
from hypothesis import given
from hypothesis import strategies as st

from workflows.timing import CRON, DAILY, MONTHLY, PERIODS, WEEKLY, Rule, check_cron, times, words

# North and south, at midnight, by half an hour, and without any.
ZONES = ["Europe/Berlin", "America/New_York", "America/Santiago", "Australia/Lord_Howe", "Africa/Cairo", "Asia/Tokyo"]
MOMENTS = st.integers(0, 5 * 366 * 1440).map(
    lambda passed: datetime(2025, 1, 1, tzinfo=UTC) + timedelta(minutes=passed)
)
DATES = st.dates(date(2024, 1, 1), date(2027, 12, 31))
CLOCK = st.times().map(lambda at: at.replace(second=0, microsecond=0))


def local(rule: Rule, after: datetime, count: int = 3) -> list[str]:
    """The next times as a clock in the zone shows them."""
    return [f"{moment.astimezone(ZoneInfo(rule.zone)):%m-%d %H:%M}" for moment in islice(times(rule, after), count)]


def test_a_time_that_is_left_out_is_the_next_there_is_and_one_that_comes_twice_is_once():
    night = Rule(DAILY, "Europe/Berlin", time(2, 30))
    assert local(night, datetime(2026, 3, 28, tzinfo=UTC)) == ["03-28 02:30", "03-29 03:00", "03-30 02:30"]
    assert local(night, datetime(2026, 10, 24, tzinfo=UTC)) == ["10-24 02:30", "10-25 02:30", "10-26 02:30"]
    twice = list(islice(times(night, datetime(2026, 10, 24, tzinfo=UTC)), 3))
    assert twice[2] - twice[1] == timedelta(hours=25)
    assert twice[1] == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


def test_midnight_itself_may_be_left_out():
    rule = Rule(DAILY, "Africa/Cairo", time(0, 15))
    assert local(rule, datetime(2026, 4, 22, 22, tzinfo=UTC)) == ["04-23 00:15", "04-24 01:00", "04-25 00:15"]


@pytest.mark.parametrize(
    ("every", "expected"),
    [
        ("daily", ["01-31 09:00", "02-01 09:00", "02-02 09:00"]),
        ("other_day", ["01-31 09:00", "02-02 09:00", "02-04 09:00"]),
        ("weekly", ["01-31 09:00", "02-07 09:00", "02-14 09:00"]),
        ("biweekly", ["01-31 09:00", "02-14 09:00", "02-28 09:00"]),
        ("monthly", ["01-31 09:00", "02-28 09:00", "03-31 09:00"]),
    ],
)
def test_days_are_counted_from_the_first(every: str, expected: list[str]):
    rule = Rule(every, "Asia/Tokyo", time(9), date(2026, 1, 31))
    assert local(rule, datetime(2025, 6, 1, tzinfo=UTC)) == expected
    assert local(rule, datetime(2026, 1, 31, 0, tzinfo=UTC))[0] == expected[1]


@given(st.sampled_from(sorted({*PERIODS, MONTHLY})), st.sampled_from(ZONES), CLOCK, DATES, MOMENTS)
def test_whatever_the_clocks_do_each_day_has_its_time_once(
    every: str, zone: str, clock: time, start: date, after: datetime
):
    rule, here = Rule(every, zone, clock, start), ZoneInfo(zone)
    found = list(islice(times(rule, after), 6))
    assert all(earlier < later for earlier, later in pairwise([after, *found]))
    for moment in found:
        wall = moment.astimezone(here)
        assert wall.date() >= start
        if (wall.hour, wall.minute) != (clock.hour, clock.minute):
            # Its own time is not on that day's clock: it is the first moment after the jump.
            before = (moment - timedelta(minutes=1)).astimezone(here)
            assert before.utcoffset() != wall.utcoffset()
            assert before.replace(tzinfo=None) < datetime.combine(wall.date(), clock) < wall.replace(tzinfo=None)
        if every in PERIODS:
            assert (wall.date() - start).days % PERIODS[every] == 0
    # Asked at any time, it says the same.
    assert [next(times(rule, moment)) for moment in found[:-1]] == found[1:]
    assert next(times(rule, found[1] - timedelta(seconds=1))) == found[1]


@given(st.sampled_from(ZONES), CLOCK, MOMENTS)
def test_cron_agrees_with_the_same_rule_in_words(zone: str, clock: time, after: datetime):
    cron = Rule(CRON, zone, cron=f"{clock.minute} {clock.hour} * * *")
    assert list(islice(times(cron, after), 4)) == list(islice(times(Rule(DAILY, zone, clock), after), 4))


@given(st.sampled_from(ZONES), MOMENTS)
def test_cron_of_every_hour_goes_by_real_time(zone: str, after: datetime):
    found = list(islice(times(Rule(CRON, zone, cron="0 * * * *"), after), 30))
    gaps = {later - earlier for earlier, later in pairwise(found)}
    # Where clocks are put by half an hour, one hour is that much shorter or longer.
    assert gaps <= {timedelta(minutes=minutes) for minutes in (30, 60, 90)}
    assert all(moment.astimezone(ZoneInfo(zone)).minute == 0 for moment in found)


def test_two_times_that_are_left_out_together_are_one():
    rule = Rule(CRON, "Europe/Berlin", cron="0,30 2 * * *")
    assert local(rule, datetime(2026, 3, 28, 12, tzinfo=UTC), 2) == ["03-29 03:00", "03-30 02:00"]


@pytest.mark.parametrize(
    ("expression", "sentence"),
    [
        ("", "has five fields"),
        ("* * * *", "has five fields"),
        ("*/5 * * * * *", "has five fields"),
        ("61 * * * *", "Bad minute"),
        ("0 9 * * MOON", "Bad day-of-week"),
        ("0 0 30 2 *", "Bad day-of-month"),
        ("0 9 31 4,6 *", "Bad day-of-month"),
    ],
)
def test_a_wrong_cron_expression_is_explained(expression: str, sentence: str):
    with pytest.raises(ValidationError, match=sentence):
        check_cron(expression)


def test_rules_are_said_in_words():
    monday = date(2026, 11, 30)
    assert words(Rule(WEEKLY, "Europe/Berlin", time(9), monday)) == "Every Monday at 09:00 (Europe/Berlin)"
    assert words(Rule(MONTHLY, "UTC", time(7, 5), monday)) == (
        "On day 30 of each month, on the last day of shorter ones at 07:05 (UTC)"
    )
    assert words(Rule(CRON, cron="30 9 * * MON-FRI")) == "At 09:30 on Monday through Friday (UTC)"
