"""Rates: one at a time, found by a model's name however a CLI writes it, and none where there is none."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.test import Client

from codecourier import registries
from codecourier.models import User
from tests.conftest import signed_in
from usage import prices, stock
from usage.models import Rate

DAY = datetime(2026, 11, 23, 12, tzinfo=UTC)


def day(year: int, month: int, number: int) -> datetime:
    return datetime(year, month, number, tzinfo=UTC)


def rate(**fields: Any) -> Rate:
    given = {"service": "anthropic", "model": "m", "metric": "input", "price": "3", "valid_from": day(2026, 1, 1)}
    return Rate(**{**given, **fields})


@pytest.fixture
def stocked(db: None) -> None:
    stock.rates()


@pytest.mark.parametrize(
    ("first", "second", "fits"),
    [
        ({}, {}, False),
        ({}, {"valid_from": day(2026, 6, 1)}, False),
        ({"valid_until": day(2026, 6, 2)}, {"valid_from": day(2026, 6, 1)}, False),
        ({"valid_until": day(2026, 6, 1)}, {"valid_from": day(2026, 6, 1)}, True),
        ({}, {"metric": "output"}, True),
        ({}, {"model": "n"}, True),
        ({}, {"service": "openai"}, True),
    ],
)
def test_two_rates_of_the_same_never_share_a_moment(db: None, first: Any, second: Any, fits: bool):
    rate(**first).save()
    another = rate(**second)
    if fits:
        another.full_clean()
        another.save()
        return
    with pytest.raises(ValidationError, match="End that one first"):
        another.full_clean()
    with pytest.raises(IntegrityError), transaction.atomic():
        another.save()


def test_a_rate_ends_after_it_begins_and_is_never_negative(db: None):
    with pytest.raises(ValidationError, match="It ends before it begins"):
        rate(valid_until=day(2025, 12, 31)).full_clean()
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        rate(price="-1").full_clean()


@pytest.mark.parametrize(
    ("service", "name", "input_price"),
    [
        ("anthropic", "claude-sonnet-4-6", 3),
        ("anthropic", "claude-haiku-4-5-20251001", 1),
        ("anthropic", "claude-sonnet-4-6[1m]", 3),
        ("anthropic", "anthropic/claude-opus-4-7", 5),
        ("openai", "gpt-5.5", 5),
        ("openai", "gpt-5.5-2026-04-23", 5),
        ("openai", "openai/gpt-6.1-sol", 2),
        ("openrouter", "anthropic/claude-opus-4.5", 5),
        ("openrouter", "openrouter/anthropic/claude-opus-4.5:nitro", 5),
    ],
)
def test_a_model_is_found_however_it_is_written(stocked: None, service: str, name: str, input_price: int):
    assert prices.tariff(service, name)(DAY)["input"] == Decimal(input_price) / 1_000_000


@pytest.mark.parametrize(
    ("service", "name"),
    [("anthropic", "claude-sonnet-4"), ("openai", "claude-opus-5-5"), ("openrouter", "qwen/qwen3"), ("e2b", "")],
)
def test_what_has_no_rate_is_not_free(db: None, service: str, name: str):
    if name:
        stock.rates()
    assert prices.tariff(service, name)(DAY) == {}


def test_the_rate_of_the_moment_counts(db: None):
    rate(price="3", valid_until=DAY).save()
    rate(price="2", valid_from=DAY).save()
    tariff = prices.tariff("anthropic", "m")
    assert [tariff(at)["input"] * 1_000_000 for at in (DAY - timedelta(microseconds=1), DAY)] == [3, 2]


def test_a_price_changes_on_a_quarter_of_an_hour(db: None):
    with pytest.raises(ValidationError, match="at :00, :15, :30 or :45"):
        rate(valid_from=DAY + timedelta(minutes=10)).full_clean()
    rate(valid_from=DAY + timedelta(minutes=15)).full_clean()


def test_an_own_rate_goes_before_the_vendor_s(stocked: None):
    rate(service="openrouter", model="anthropic/claude-opus-5-5", price="7").save()
    assert prices.tariff("openrouter", "anthropic/claude-opus-5-5")(DAY) == {"input": Decimal("0.000007")}


def test_a_model_s_rate_is_one_question(stocked: None, django_assert_num_queries: Any):
    with django_assert_num_queries(1):
        prices.tariff("openrouter", "openrouter/anthropic/claude-opus-4.5:nitro")


def test_the_stock_is_complete_exact_and_changes_nothing_that_is_there(db: None):
    mine = rate(service="anthropic", model="claude-opus-5-5", metric="input", price="1.5")
    mine.save()
    stock.rates()
    stock.rates()
    mine.refresh_from_db()
    assert mine.price == Decimal("1.5")
    assert Rate.objects.count() == len([*stock.listed()])
    for row in Rate.objects.all():
        row.full_clean()
    # facts: 2 vCPU and 4 GiB cost 0.1656 USD an hour at E2B.
    second = prices.tariff("e2b", "")(DAY)
    assert (2 * second["vcpu_seconds"] + 4 * second["gib_seconds"]) * 3600 == Decimal("0.1656")
    assert prices.tariff("local", "")(DAY) == {"vcpu_seconds": 0, "gib_seconds": 0}


def test_lower_apps_ask_and_installations_are_stocked():
    assert prices.tariff in registries.pricers
    assert stock.rates in registries.seeds


def test_an_administrator_finds_and_changes_rates(stocked: None):
    client: Client = signed_in(User.objects.create_superuser("root@example.com", "open sesame"))
    address = "/admin/usage/rate/"
    found = client.get(address, {"q": "claude-opus-5-5", "valid": "now", "service__exact": "anthropic"})
    assert "5 rates" in found.content.decode()
    assert "0 rates" in client.get(address, {"valid": "other"}).content.decode()
    form = {"service": "anthropic", "model": " claude-opus-5-5 ", "metric": "input", "price": "9", "source": "",
            "valid_from_0": "2026-12-01", "valid_from_1": "00:00", "valid_until_0": "",
            "valid_until_1": ""}  # fmt: skip
    refused = client.post(f"{address}add/", form)
    assert "End that one first" in refused.content.decode()
    Rate.objects.filter(model="claude-opus-5-5").update(valid_until=day(2026, 12, 1))
    assert client.post(f"{address}add/", form).status_code == 302
    assert Rate.objects.get(price=9).model == "claude-opus-5-5"
