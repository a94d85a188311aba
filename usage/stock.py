"""The rates that every installation starts with: public list prices, as of November 2026."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

from .models import Rate

S, M = Rate.Service, Rate.Metric
SINCE = datetime(2026, 10, 27, tzinfo=UTC)
ANTHROPIC = "platform.claude.com, pricing; cache writes for 5 minutes"
HOUR = "platform.claude.com, pricing; cache writes for an hour"
OPENAI = "developers.openai.com, API pricing; prompts to 272,000 tokens, longer ones cost more"
LONGER = f"{ANTHROPIC}; prompts to 100,000 tokens, longer ones cost five times as much"
# USD for a million tokens: input, output, cache read, cache write.
CLAUDE = {
    "claude-fable-5-1": "10 50 0.25 12.50",
    "claude-fable-5": "10 50 1 12.50",
    "claude-mythos-5-1": "10 50 0.25 12.50",
    "claude-mythos-5": "10 50 1 12.50",
    "claude-opus-5-5": "4 20 0.20 5",
    "claude-opus-5": "5 25 0.50 6.25",
    "claude-opus-4-8": "5 25 0.50 6.25",
    "claude-opus-4-7": "5 25 0.50 6.25",
    "claude-opus-4-6": "5 25 0.50 6.25",
    "claude-opus-4-5": "5 25 0.50 6.25",
    "claude-opus-4-1": "15 75 1.50 18.75",
    "claude-sonnet-5-5": "2 10 0.10 2.50",
    "claude-sonnet-5": "2 10 0.20 2.50",
    "claude-sonnet-4-6": "3 15 0.30 3.75",
    "claude-sonnet-4-5": "3 15 0.30 3.75",
    "claude-haiku-5-5": "0.10 0.50 0.01 0.125",
    "claude-haiku-4-5": "1 5 0.10 1.25",
}
# Before GPT-5.6 nothing is added for writing into the cache: such tokens are plain input.
GPT = {
    "gpt-6-astra": "10 50 1 12.50",
    "gpt-6.1-sol": "2 10 0.10 2.50",
    "gpt-6.1-terra": "1 5 0.05 1.25",
    "gpt-6-sol": "2 10 0.20 2.50",
    "gpt-6-luna": "0.10 0.50 0.01 0.125",
    "gpt-5.6-sol": "4 20 0.40 5",
    "gpt-5.6-terra": "2 12 0.20 2.50",
    "gpt-5.6-luna": "0.20 1.20 0.02 0.25",
    "gpt-5.5": "5 30 0.50 5",
    "gpt-5.4": "2.50 15 0.25 2.50",
    "gpt-5.4-mini": "0.75 4.50 0.075 0.75",
    "gpt-5.3-codex": "1.75 14 0.175 1.75",
    "gpt-5.2": "1.75 14 0.175 1.75",
    "gpt-5.2-codex": "1.75 14 0.175 1.75",
    "gpt-5-codex": "1.25 10 0.125 1.25",
    "gpt-5": "1.25 10 0.125 1.25",
    "gpt-5-mini": "0.25 2 0.025 0.25",
}
# USD for a second of one vCPU and of one GiB of memory.
MACHINES = {
    S.E2B: ("0.000014", "0.0000045", "e2b.dev/pricing; the size that is allocated, disk included"),
    S.LOCAL: ("0", "0", "Sandboxes on a machine of your own: what that costs is yours to say."),
}


def rates() -> None:
    """All of them; of what has a rate already, however old, nothing changes."""
    known = set(Rate.objects.values_list("service", "model", "metric"))
    Rate.objects.bulk_create(rate for rate in listed() if (rate.service, rate.model, rate.metric) not in known)


def listed() -> Iterator[Rate]:
    """As rows that are not saved."""
    for model, figures in CLAUDE.items():
        source = LONGER if model == "claude-haiku-5-5" else ANTHROPIC
        yield from tokens(S.ANTHROPIC, model, figures, source)
        # What is kept for an hour costs twice the input to write.
        hour = 2 * Decimal(figures.split()[0])
        yield Rate(service=S.ANTHROPIC, model=model, metric=M.CACHE_WRITE_1H, price=hour, valid_from=SINCE, source=HOUR)
    for model, figures in GPT.items():
        yield from tokens(S.OPENAI, model, figures, OPENAI)
    for service, (vcpu, gib, source) in MACHINES.items():
        for metric, price in ((M.VCPU_SECONDS, vcpu), (M.GIB_SECONDS, gib)):
            yield Rate(service=service, metric=metric, price=Decimal(price), valid_from=SINCE, source=source)


def tokens(service: str, model: str, figures: str, source: str) -> Iterator[Rate]:
    """The four rates of a model."""
    for metric, price in zip((M.INPUT, M.OUTPUT, M.CACHE_READ, M.CACHE_WRITE), figures.split(), strict=True):
        yield Rate(service=service, model=model, metric=metric, price=Decimal(price), valid_from=SINCE, source=source)
