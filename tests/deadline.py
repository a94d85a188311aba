"""Waiting for something to become true, with an end."""

import time
from collections.abc import Callable, Iterator

SOONEST, LATEST = 0.005, 0.1


def until[T](condition: Callable[[], T], seconds: float = 60.0, what: str = "it") -> T:
    """Ask until the answer is true, and return it; fails when it isn't within the time.

    What takes long is asked ever more seldom: the processes that are waited for need the processor themselves.
    """
    end, pauses = time.monotonic() + seconds, growing()
    while not (answer := condition()):
        assert time.monotonic() < end, f"waited {seconds:.0f} s in vain for {what}"
        time.sleep(next(pauses))
    return answer


def growing() -> Iterator[float]:
    """Pauses in seconds, each a fourth longer than the one before it."""
    pause = SOONEST
    while True:
        yield pause
        pause = min(pause * 1.25, LATEST)
