"""Waiting for something to become true, with an end."""

import time
from collections.abc import Callable


def until[T](condition: Callable[[], T], seconds: float = 20.0) -> T:
    """Ask every 10 ms until the answer is true, and return it; fails when it isn't within the time."""
    end = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < end, "did not become true in time"
        time.sleep(0.01)
    return answer
