"""What several open pages show alike is rendered once for all of them that were woken together."""

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Self

type Fragments = dict[str, str]

# Those who were woken together ask within this time; afterwards it only takes up room.
KEPT_SECONDS = 5.0
_kept: dict[Hashable, tuple[float, Fragments]] = {}


@dataclass(frozen=True)
class Look:
    """One look at the database by a page that was woken at `since`; it began at `at`, before anything was read."""

    since: float
    at: float

    @classmethod
    def now(cls, since: float) -> Self:
        """A look that begins."""
        return cls(since, time.monotonic())

    def rendered(self, key: Hashable, render: Callable[[], Fragments]) -> Fragments:
        """What `render` returns, or has returned under this key in a look that began after this page was woken: such
        a one has seen what it was woken for. All sockets of a process look in one thread, one after the other.
        """
        found = _kept.get(key)
        if found and found[0] >= self.since:
            return found[1]
        fragments = render()
        for old in [name for name, (at, _) in list(_kept.items()) if at < self.at - KEPT_SECONDS]:
            _kept.pop(old, None)
        _kept[key] = self.at, fragments
        return fragments
