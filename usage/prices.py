"""Which rate a model has at a moment: the question that lower apps ask through `codecourier.registries.pricers`."""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from .models import Rate

# A release, as in claude-haiku-4-5-20251001 and gpt-5.5-2026-04-23, or the word for the newest.
RELEASE = re.compile(r"[-@](\d{8}|\d{4}-\d{2}-\d{2}|latest)\Z")
# How a CLI or OpenRouter asks for something of the same model: claude-sonnet-4-6[1m], gpt-5.5:nitro.
VARIANT = re.compile(r"(\[[^\]]*\]|:[a-z]+)\Z")
# OpenRouter passes the vendors' list prices on (openrouter.ai/docs, on pricing).
VENDORS = {"anthropic": "anthropic", "openai": "openai"}


@dataclass(frozen=True)
class Tariff:
    """What a model costs, now and at any other time; the first name in `wanted` that has a rate then counts."""

    wanted: list[tuple[str, str]]
    known: Mapping[tuple[str, str], list[Rate]]

    def rates(self, at: datetime) -> dict[str, Rate]:
        """The rate of each metric that has one then."""
        for which in self.wanted:
            if found := {rate.metric: rate for rate in self.known.get(which, ()) if rate.holds(at)}:
                return found
        return {}

    def __call__(self, at: datetime) -> Mapping[str, Decimal]:
        """USD of one unit (a token, a second) of each metric with a rate then; empty where there is none."""
        return {metric: rate.per_unit for metric, rate in self.rates(at).items()}


def tariff(service: str, model: str) -> Tariff:
    """All that is known of what a model costs; of machine time where the model is empty."""
    wanted, known = candidates(service, model), defaultdict[tuple[str, str], list[Rate]](list)
    services, names = {service for service, _ in wanted}, {name for _, name in wanted}
    for rate in Rate.objects.filter(service__in=services, model__in=names).order_by():
        known[rate.service, rate.model].append(rate)
    return Tariff(wanted, known)


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
