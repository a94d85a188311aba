"""What was used, what it cost, and how much it may cost."""

from .budget import Budget, Reservation
from .entry import Entry, Meter
from .rate import MILLION, Kind, Rate
from .rollup import Check, Rollup, RunSum, Work

__all__ = [
    "MILLION", "Budget", "Check", "Entry", "Kind", "Meter", "Rate", "Reservation", "Rollup", "RunSum", "Work",
]  # fmt: skip
