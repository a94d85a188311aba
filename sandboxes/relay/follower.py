"""One job followed: connect to its machine, read its spool from the cursor on, reconnect until its exit is stored."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sandboxes import courier, e2b

from .flush import AWAY
from .fold import Fold

logger = logging.getLogger(__name__)

# The courier's follower sends a heartbeat every 5 s.
DEAD_AFTER = 15.0
BACKOFF = (0.1, 2.0)
# In a row, before a job whose machine or whose files are gone is given up.
GONE_AT_MOST, REFUSED_AT_MOST = 2, 5


@dataclass(frozen=True)
class Claim:
    """A job that is ours to follow."""

    job: int
    epoch: int
    provider: e2b.Provider
    machine: str
    sandbox: int


class Follower:
    """Feeds a fold from the machine; `ended` tells whether the job's exit has come."""

    def __init__(
        self,
        claim: Claim,
        fold: Fold,
        tell: Callable[[], None],
        may: Callable[[Claim], Awaitable[bool]],
        most: Callable[[], int],
    ) -> None:
        """`most` bytes of it wait for the flush before its stream is left to wait."""
        self.claim, self.fold = claim, fold
        self._tell, self._may, self._most = tell, may, most
        self.room = asyncio.Event()
        self.room.set()
        self.gone = self.refused = 0
        self.lost = False
        self._alive: asyncio.Timeout | None = None

    async def run(self, pace_ms: Callable[[], int]) -> None:
        """Follow until the exit record or until the machine is known to be gone; owns every fault of its streams."""
        delay = BACKOFF[0]
        while self.fold.exit is None and not self.lost:
            before = self.fold.cursor.offset
            try:
                if await self._may(self.claim):
                    await self._connect(pace_ms())
                    self._weigh_refusal()
            except e2b.Gone:
                self.gone += 1
                self.lost = self.gone >= GONE_AT_MOST
            except TimeoutError:
                logger.warning("Job %s: no sign of life from its machine, connecting again", self.claim.job)
            except (e2b.ProviderError, *AWAY) as error:
                logger.warning("Job %s: %s", self.claim.job, error)
            except Exception:
                logger.exception("Job %s: its stream failed", self.claim.job)
            if self.fold.cursor.offset > before:
                delay, self.gone = BACKOFF[0], 0
            if self.fold.exit is None and not self.lost:
                await asyncio.sleep(delay)
                delay = min(delay * 2, BACKOFF[1])
        self._tell()

    def _weigh_refusal(self) -> None:
        """A courier that refuses to follow is believed when it has said so often enough."""
        self.refused = self.refused + 1 if self.fold.refusal else 0
        self.lost = self.refused >= REFUSED_AT_MOST
        if self.refused:
            logger.warning("Job %s: its courier refuses: %.300r", self.claim.job, self.fold.refusal)

    async def _connect(self, pace_ms: int) -> None:
        self.fold.rewind()
        async with asyncio.timeout(DEAD_AFTER) as self._alive:
            machine = await e2b.attach(self.claim.provider, self.claim.machine)
            line = courier.command("follow", self.claim.job, "--offset", self.fold.cursor.offset, "--pace", pace_ms)
            await machine.follow(line, self._data)

    async def _data(self, text: str) -> None:
        """A chunk of the spool; waiting here is what slows the machine's side down."""
        self.fold.take(text.encode("ascii", "replace"))
        if self.fold.dirty:
            self._tell()
        while self.fold.size > self._most():
            self._live(None)
            self.room.clear()
            await self.room.wait()
        self._live(DEAD_AFTER)

    def _live(self, seconds: float | None) -> None:
        if self._alive:
            self._alive.reschedule(None if seconds is None else asyncio.get_running_loop().time() + seconds)
