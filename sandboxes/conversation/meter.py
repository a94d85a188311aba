"""What a turn has used: tokens as the agent told them, and what they cost where there is a rate."""

from dataclasses import dataclass, field

from .. import transcripts
from ..agents import AGENTS
from ..models import Turn
from ..price import Cost, Prices


@dataclass(frozen=True)
class Meter:
    """Tokens of a turn; None where the agent told none. `input` without what was cached."""

    input: int | None = None
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int = 0
    models: tuple[str, ...] = ()
    cost: Cost = field(default_factory=Cost)

    @property
    def known(self) -> bool:
        """Whether the agent told anything."""
        return self.input is not None


def meter(turn: Turn, prices: Prices) -> Meter | None:
    """None for a tool that uses no model."""
    if not AGENTS[turn.sandbox.tool].structured:
        return None
    running = turn.status == Turn.Status.RUNNING and turn.job is not None
    used = transcripts.usage(turn.job) if running and turn.job else turn.usage
    if not isinstance(used, dict):
        return Meter()
    totals = {name: sum(int(tokens.get(name, 0)) for tokens in used.values()) for name in transcripts.TOKENS}
    return Meter(
        input=totals["input"],
        output=totals["output"],
        cache_read=totals["cache_read"],
        cache_write=totals["cache_write"],
        reasoning=totals["reasoning"],
        models=tuple(sorted(used)),
        cost=prices.turn(turn, used),
    )
