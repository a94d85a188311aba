"""The work leaves the machine: after every turn, before every pause and end."""

from .store import Broken, Store
from .taking import advance, close, plan

__all__ = ["Broken", "Store", "advance", "close", "plan"]
