"""What machine time and tokens cost, by the rates that higher apps know; what has none is named, and never free."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from django.utils import timezone

from codecourier import registries

from . import metering
from .metering import Fact, Piece
from .models import Sandbox, Turn

type Tariff = Callable[[datetime], Mapping[str, Decimal]]
MACHINES = {"e2b": "E2B machine time", "local": "machine time here"}


@dataclass(frozen=True)
class Cost:
    """USD of what has a rate, what has none, and whether something was used that nobody counted.

    `fresh` is the part of the USD that is not recorded yet.
    """

    usd: Decimal = Decimal(0)
    unpriced: tuple[str, ...] = ()
    uncounted: bool = False
    fresh: Decimal = field(default=Decimal(0), compare=False)

    def __add__(self, other: "Cost") -> "Cost":
        """Both together."""
        names = tuple(dict.fromkeys((*self.unpriced, *other.unpriced)))
        return Cost(self.usd + other.usd, names, self.uncounted or other.uncounted, self.fresh + other.fresh)

    @property
    def whole(self) -> bool:
        """Whether `usd` is all of it."""
        return not self.unpriced and not self.uncounted

    @property
    def known(self) -> Decimal | None:
        """USD, None when nothing of it has a rate."""
        return self.usd if self.usd or self.whole else None


@dataclass
class Prices:
    """Rates as they are asked for, each once, and what is recorded of some sandboxes: make one for each page."""

    known: dict[tuple[str, str], list[Tariff]] = field(default_factory=dict)
    recorded: dict[str, Decimal | None] = field(default_factory=dict)

    @classmethod
    def recalling(cls, *sandboxes: Sandbox) -> "Prices":
        """With what is recorded of these."""
        prices, ids = cls(), [sandbox.pk for sandbox in sandboxes]
        for ledger in registries.ledgers:
            prices.recorded |= ledger(ids)
        return prices

    def of(self, service: str, model: str, at: datetime) -> Mapping[str, Decimal]:
        """USD of one unit of each metric that has a rate at that moment."""
        if (service, model) not in self.known:
            self.known[service, model] = [pricer(service, model) for pricer in registries.pricers]
        return next((found for tariff in self.known[service, model] if (found := tariff(at))), {})

    def cost(self, service: str, model: str, used: Mapping[str, int | Decimal], at: datetime) -> Cost:
        """The price of quantities by metric; without a rate for any that isn't 0 the whole has none."""
        prices = self.of(service, model, at)
        amounts = {metric: quantity for metric, quantity in used.items() if quantity}
        if amounts.keys() - prices.keys():
            return Cost(unpriced=(name(service, model),))
        return Cost(sum((prices[metric] * quantity for metric, quantity in amounts.items()), Decimal(0)))

    def facts(self, facts: Sequence[Fact]) -> Cost:
        """What facts about one model at one moment cost: as recorded, else at the rates of their time."""
        if not facts:
            return Cost()
        one = facts[0]
        if all(fact.key in self.recorded for fact in facts):
            costs = [self.recorded[fact.key] for fact in facts]
            found = sum((cost for cost in costs if cost is not None), Decimal(0))
            return Cost(found, (name(one.service, one.model),) if None in costs else ())
        made = self.cost(one.service, one.model, {fact.metric: fact.quantity for fact in facts}, one.at)
        return replace(made, fresh=made.usd)

    def turn(self, turn: Turn, usage: Mapping[str, Mapping[str, int]] | None) -> Cost:
        """What a turn's tokens cost; `usage` as in `Turn.usage`, where None means that nobody counted."""
        if usage is None:
            return Cost(uncounted=True)
        return sum((self.facts([*metering.tokens(turn, {model: used})]) for model, used in usage.items()), Cost())

    def machine(self, sandbox: Sandbox, pieces: Iterable[Piece], now: datetime) -> Cost:
        """What pieces of machine time cost."""
        return sum((self.facts(metering.machine(sandbox, piece, now)) for piece in pieces), Cost())

    def hourly(self, service: str, cpu: int, memory_mb: int) -> Decimal | None:
        """USD for one hour of running with so many vCPUs and MB of memory; None without a rate."""
        found = self.cost(service, "", metering.size(cpu, memory_mb, Decimal(3600)), timezone.now())
        return found.usd.quantize(Decimal("0.0001")) if found.whole else None


def name(service: str, model: str) -> str:
    """What has no rate, in words."""
    return MACHINES.get(service) or model or "an unnamed model"


def hourly(cpu: int, memory_mb: int) -> Decimal | None:
    """USD for one hour of such a machine at E2B; None without a rate."""
    return Prices().hourly("e2b", cpu, memory_mb)
