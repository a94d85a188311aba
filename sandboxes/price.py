"""What machine time and tokens cost, by the rates that higher apps know; what has none is named, and never free."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from django.utils import timezone

from codecourier import registries

from .agents.access import FAMILIES
from .models import Sandbox, Turn

# Reasoning is part of the output.
BILLED = ("input", "output", "cache_read", "cache_write")
MACHINES = {"e2b": "E2B machine time", "local": "machine time here"}


@dataclass(frozen=True)
class Cost:
    """USD of what has a rate, what has none, and whether something was used that nobody counted."""

    usd: Decimal = Decimal(0)
    unpriced: tuple[str, ...] = ()
    uncounted: bool = False

    def __add__(self, other: "Cost") -> "Cost":
        """Both together."""
        names = tuple(dict.fromkeys((*self.unpriced, *other.unpriced)))
        return Cost(self.usd + other.usd, names, self.uncounted or other.uncounted)

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
    """Rates as they are asked for, each once: make one for each page."""

    known: dict[tuple[str, str, datetime], Mapping[str, Decimal]] = field(default_factory=dict)

    def of(self, service: str, model: str, at: datetime) -> Mapping[str, Decimal]:
        """USD of one unit of each metric that has a rate on that day."""
        day = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        which = (service, model, day)
        if which not in self.known:
            answers = (pricer(service, model, day) for pricer in registries.pricers)
            self.known[which] = next((answer for answer in answers if answer), {})
        return self.known[which]

    def cost(self, service: str, model: str, used: Mapping[str, int | Decimal], at: datetime) -> Cost:
        """The price of quantities by metric; without a rate for any that isn't 0 the whole has none."""
        prices = self.of(service, model, at)
        amounts = {metric: quantity for metric, quantity in used.items() if quantity}
        if amounts.keys() - prices.keys():
            return Cost(unpriced=(model or MACHINES.get(service, service),))
        return Cost(sum((prices[metric] * quantity for metric, quantity in amounts.items()), Decimal(0)))

    def tokens(self, tool: str, model: str, used: Mapping[str, int], at: datetime) -> Cost:
        """What a model's tokens cost."""
        billed = {metric: used.get(metric, 0) for metric in BILLED}
        return self.cost(service(tool, model), model or "an unnamed model", billed, at)

    def turn(self, turn: Turn, usage: Mapping[str, Mapping[str, int]] | None) -> Cost:
        """What a turn's tokens cost; `usage` as in `Turn.usage`, where None means that nobody counted."""
        if usage is None:
            return Cost(uncounted=True)
        at = turn.started_at or turn.created_at
        costs = (self.tokens(turn.sandbox.tool, model, used, at) for model, used in usage.items())
        return sum(costs, Cost())

    def machine(self, sandbox: Sandbox, seconds: Decimal) -> Cost:
        """What so many seconds of its machine cost, at the size that the provider says; nothing before it has one."""
        if not sandbox.provider:
            return Cost()
        cpu, memory_mb = sandbox.real_cpu or sandbox.cpu, sandbox.real_memory_mb or sandbox.memory_mb
        return self.cost(sandbox.provider, "", size(cpu, memory_mb, seconds), sandbox.created_at)

    def hourly(self, service: str, cpu: int, memory_mb: int) -> Decimal | None:
        """USD for one hour of running with so many vCPUs and MB of memory; None without a rate."""
        found = self.cost(service, "", size(cpu, memory_mb, Decimal(3600)), timezone.now())
        return found.usd.quantize(Decimal("0.0001")) if found.whole else None


def size(cpu: int, memory_mb: int, seconds: Decimal) -> dict[str, Decimal]:
    """The quantities of machine time."""
    return {"vcpu_seconds": cpu * seconds, "gib_seconds": Decimal(memory_mb) / 1024 * seconds}


def service(tool: str, model: str) -> str:
    """Who is paid for a model's tokens: named before a slash, else known by its name, else by the tool."""
    prefix, slash, _ = model.partition("/")
    if slash:
        return prefix if prefix in FAMILIES else "openrouter"
    family = next((name for name, pattern in FAMILIES.items() if pattern.match(model)), "")
    return family or {"claude": "anthropic", "codex": "openai"}.get(tool, "openrouter")


def hourly(cpu: int, memory_mb: int) -> Decimal | None:
    """USD for one hour of such a machine at E2B; None without a rate."""
    return Prices().hourly("e2b", cpu, memory_mb)
