"""Rates as a CSV file: written, changed in a spreadsheet, read again."""

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from django.core.exceptions import ValidationError
from django.db import transaction

from .models import Rate

COLUMNS = ("service", "model", "metric", "price", "valid_from", "valid_until", "source")
MOST_BYTES = 2 * 2**20
MOST_ERRORS = 20


@dataclass
class Result:
    """What a file did, or the lines that kept it from doing anything."""

    added: int = 0
    changed: int = 0
    ended: int = 0
    same: int = 0
    errors: list[str] = field(default_factory=list)


def lines(rates: Iterable[Rate]) -> Iterator[list[str]]:
    """A heading and a line for each rate."""
    yield [*COLUMNS]
    for rate in rates:
        until = rate.valid_until.astimezone(UTC).isoformat() if rate.valid_until else ""
        price = f"{rate.price.normalize():f}"
        yield [
            rate.service,
            rate.model,
            rate.metric,
            price,
            rate.valid_from.astimezone(UTC).isoformat(),
            until,
            rate.source,
        ]


def read(data: bytes) -> Result:
    """Take the rates of a file over, all of them or none. A rate with a later beginning ends the one before it."""
    result = Result()
    try:
        reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig")))
        missing = {"service", "metric", "price", "valid_from"} - set(reader.fieldnames or ())
        rows = list(enumerate(reader, 2))
    except (UnicodeDecodeError, csv.Error) as error:
        result.errors.append(f"This is no CSV file in UTF-8: {error}.")
        return result
    if missing:
        result.errors.append(
            f"The first line has to name the columns {', '.join(COLUMNS)}; missing: {', '.join(sorted(missing))}."
        )
        return result
    with transaction.atomic():
        for number, row in rows:
            take(number, row, result)
        if result.errors:
            transaction.set_rollback(True)
    return result


def take(number: int, row: dict[str, str], result: Result) -> None:
    """One line."""
    try:
        merge(rate_of(row), result)
    except ValidationError as error:
        if len(result.errors) < MOST_ERRORS:
            result.errors.append(f"Line {number}: {' '.join(error.messages)}")


def rate_of(row: dict[str, str]) -> Rate:
    """A line as a rate that is not stored; ValidationError when it can't be one."""
    text = {name: (row.get(name) or "").strip() for name in COLUMNS}
    try:
        price = Decimal(text["price"])
    except InvalidOperation as error:
        raise ValidationError(f"{text['price'][:40]!r} is no price: write it like 2.50.") from error
    start, end = moment(text["valid_from"]), moment(text["valid_until"]) if text["valid_until"] else None
    known = {name: text[name] for name in ("service", "model", "metric", "source")}
    return Rate(**known, price=price, valid_from=start, valid_until=end)


def moment(text: str) -> datetime:
    """A day, or a moment; in UTC where it doesn't say."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValidationError(
            f"{text[:40]!r} is no day or moment: write it like 2026-11-01 or 2026-11-01T12:00."
        ) from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def merge(rate: Rate, result: Result) -> None:
    """Into what is there: the same beginning is the same rate."""
    rows = Rate.objects.filter(service=rate.service, model=rate.model, metric=rate.metric)
    there = rows.filter(valid_from=rate.valid_from).first()
    if there:
        fields = ("price", "valid_until", "source")
        if all(getattr(there, name) == getattr(rate, name) for name in fields):
            result.same += 1
            return
        for name in fields:
            setattr(there, name, getattr(rate, name))
        there.full_clean()
        there.save()
        result.changed += 1
        return
    # One that goes on ends where the new one begins.
    if rate.valid_until is None:
        result.ended += rows.filter(valid_from__lt=rate.valid_from, valid_until=None).update(
            valid_until=rate.valid_from
        )
    rate.full_clean()
    rate.save()
    result.added += 1
