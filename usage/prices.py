"""Which rate a model has on a day: the question that lower apps ask through `codecourier.registries.pricers`."""

import re
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

from django.db.models import Q, QuerySet

from .models import Rate

# A release, as in claude-haiku-4-5-20251001 and gpt-5.5-2026-04-23, or the word for the newest.
RELEASE = re.compile(r"[-@](\d{8}|\d{4}-\d{2}-\d{2}|latest)\Z")
# How a CLI or OpenRouter asks for something of the same model: claude-sonnet-4-6[1m], gpt-5.5:nitro.
VARIANT = re.compile(r"(\[[^\]]*\]|:[a-z]+)\Z")
# OpenRouter passes the vendors' list prices on (openrouter.ai/docs, on pricing).
VENDORS = {"anthropic": "anthropic", "openai": "openai"}


def prices(service: str, model: str, at: datetime) -> Mapping[str, Decimal]:
    """USD of one unit (a token, a second) of each metric with a rate then; empty where there is none."""
    wanted = candidates(service, model)
    found = defaultdict[tuple[str, str], dict[str, Decimal]](dict)
    for rate in valid(wanted, at):
        found[rate.service, rate.model][rate.metric] = rate.price / rate.unit
    return next((found[which] for which in wanted if which in found), {})


def valid(wanted: list[tuple[str, str]], at: datetime) -> QuerySet[Rate]:
    """The rates of any of these (service, model) on the day of that moment."""
    day = at.astimezone(UTC).date()
    services, models = {service for service, _ in wanted}, {model for _, model in wanted}
    rates = Rate.objects.filter(service__in=services, model__in=models, valid_from__lte=day)
    return rates.filter(Q(valid_until=None) | Q(valid_until__gte=day)).order_by()


def candidates(service: str, model: str) -> list[tuple[str, str]]:
    """Where a model's rate is looked for, in order: its own name, then without variant, release and vendor."""
    plain = VARIANT.sub("", model)
    bare = RELEASE.sub("", plain)
    found = [(service, name) for name in (model, plain, bare)]
    while "/" in bare:
        vendor, _, bare = bare.partition("/")
        found.append((service, bare))
        if vendor in VENDORS:
            # OpenRouter writes a point where Anthropic writes a hyphen: claude-opus-4.5.
            found += [(VENDORS[vendor], bare), (VENDORS[vendor], bare.replace(".", "-"))]
    return list(dict.fromkeys(found))
