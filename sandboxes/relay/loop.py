"""The relay's loop: take jobs, follow them, flush them together, keep the leases; the sweep runs beside it.

Three threads touch the database, each with Django's connection of its own: the flush, the leases, the sweep. A stuck
sweep never delays the output.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from django.db import Error, close_old_connections, connections

from codecourier import hub, lifecycle, registries

from . import claims, flush
from .fold import Batch, Fold
from .follower import Claim, Follower

logger = logging.getLogger(__name__)

LOOK_SECONDS, RENEW_SECONDS, SWEEP_SECONDS, CHORE_SECONDS = 0.5, 1.0, 0.5, 1.0
# Between two flushes: so many times what one took, within these bounds; a light load is stored at once.
FLUSH_SHARE, FLUSH_SOONEST, FLUSH_LATEST = 4, 0.02, 0.25
# A follower with more neighbours tells less often.
PACE_MS_PER_JOB, PACE_MS = 4, (10, 250)
# Bytes that wait for the flush while the database is away or slow: of all jobs together, and within it of each.
WAITING, WAITING_EACH = 128 * 2**20, (64 * 2**10, 4 * 2**20)


class Relay:
    """Runs until `stop` is called."""

    def __init__(self) -> None:
        self.followers: dict[int, Follower] = {}
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self.leaving: set[asyncio.Task[None]] = set()  # cancelled, on their way out
        self.dirty = asyncio.Event()
        self.stopping = asyncio.Event()
        self.flusher = ThreadPoolExecutor(1, "flush")
        self.leaser = ThreadPoolExecutor(1, "lease")
        self.flushing = asyncio.Lock()

    async def run(self) -> None:
        """Follow, flush and sweep; on the way out store what came and give the leases back."""
        done = threading.Event()
        sweeper = threading.Thread(target=sweep_until, args=[done], name="sweep", daemon=True)
        sweeper.start()
        loops = [asyncio.create_task(loop()) for loop in (self.take_jobs, self.keep_leases, self.flush_all)]
        ended = asyncio.create_task(self.stopping.wait())
        finished, _ = await asyncio.wait([ended, *loops], return_when=asyncio.FIRST_COMPLETED)
        followed = [*self.tasks.values(), *self.leaving]
        for task in (*loops, *followed, ended):
            task.cancel()
        await asyncio.gather(*loops, *followed, ended, return_exceptions=True)
        done.set()
        await self.let_go()
        await self.close_connections()
        await asyncio.to_thread(sweeper.join, SWEEP_SECONDS)
        for task in finished - {ended}:
            task.result()  # a loop that ended by itself ends the relay, to be started again

    def stop(self) -> None:
        """End `run`, from the loop's own thread."""
        self.stopping.set()

    async def let_go(self) -> None:
        """The last flush, and the leases given back."""
        try:
            await self.flush_once()
            mine = [key(follower) for follower in self.followers.values()]
            await self.in_thread(self.leaser, lambda: flush.release(mine))
        except Error as error:
            logger.warning("The leases could not be given back (%s); they end by themselves", error)

    async def close_connections(self) -> None:
        """Each thread has its own."""
        for pool in (self.flusher, self.leaser):
            await asyncio.get_running_loop().run_in_executor(pool, connections.close_all)
            pool.shutdown()

    async def in_thread[T](self, pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        """Database work in its thread, with stale connections closed before."""

        def fresh() -> T:
            close_old_connections()
            return work()

        return await asyncio.get_running_loop().run_in_executor(pool, fresh)

    async def take_jobs(self) -> None:
        """Claim whatever runs unfollowed: when told, and every half second in case nobody told."""
        async with hub.subscribe("relay") as changes:
            while True:
                try:
                    for claim, fold in await self.in_thread(self.leaser, claims.take):
                        self.begin(claim, fold)
                except Error as error:
                    logger.warning("Jobs can't be claimed just now: %s", error)
                    await asyncio.sleep(LOOK_SECONDS)
                try:
                    async with asyncio.timeout(LOOK_SECONDS):
                        await changes.wait()
                except TimeoutError:
                    continue

    def begin(self, claim: Claim, fold: Fold) -> None:
        """Follow a job, in place of an older claim of ours on it."""
        self.drop(claim.job)
        follower = Follower(claim, fold, self.dirty.set, self.may_connect, self.room)
        self.followers[claim.job] = follower
        self.tasks[claim.job] = asyncio.create_task(self.follow(follower), name=f"job-{claim.job}")

    async def may_connect(self, claim: Claim) -> bool:
        """Whether its machine may be connected to now."""
        return await self.in_thread(self.leaser, lambda: claims.may_connect(claim))

    async def follow(self, follower: Follower) -> None:
        """One job to its end; an unforeseen fault gives it back to whoever claims it next."""
        try:
            await follower.run(self.pace)
            if follower.lost:
                await self.flush_once()
                await self.in_thread(self.leaser, lambda: claims.lose(follower.claim))
                self.drop(follower.claim.job)
        except asyncio.CancelledError:
            raise
        except Exception:
            logger.exception("Following job %s failed", follower.claim.job)
            await asyncio.sleep(1)
            self.drop(follower.claim.job)

    def pace(self) -> int:
        """Milliseconds between two writes of a busy follower in the machine."""
        return max(PACE_MS[0], min(PACE_MS[1], PACE_MS_PER_JOB * len(self.followers)))

    def room(self) -> int:
        """Bytes that each job may have waiting for the flush."""
        return max(WAITING_EACH[0], min(WAITING_EACH[1], WAITING // max(1, len(self.followers))))

    def drop(self, job: int) -> None:
        """Stop following; what was not stored is read again by the next claim."""
        self.followers.pop(job, None)
        task = self.tasks.pop(job, None)
        if task and task is not asyncio.current_task():
            task.cancel()
            self.leaving.add(task)
            task.add_done_callback(self.leaving.discard)

    async def keep_leases(self) -> None:
        """Renew about every second; what is somebody else's, over or asleep is dropped."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            mine = [follower.claim for follower in self.followers.values()]
            try:
                ours = await self.in_thread(self.leaser, lambda: claims.renew(mine))  # noqa: B023
                strays = [claim for claim in mine if claim.job not in ours and self.holds(claim)]
                for claim in strays:
                    self.drop(claim.job)
                gone = [(claim.job, claim.epoch) for claim in strays]
                await self.in_thread(self.leaser, lambda: flush.release(gone))  # noqa: B023
            except Error as error:
                logger.warning("Leases can't be renewed just now: %s", error)

    def holds(self, claim: Claim) -> bool:
        """Whether this very claim is the one being followed."""
        follower = self.followers.get(claim.job)
        return follower is not None and follower.claim is claim

    async def flush_all(self) -> None:
        """Store at once what comes after a pause, then at a pace that leaves the database room."""
        while True:
            await self.dirty.wait()
            self.dirty.clear()
            began = time.monotonic()
            try:
                await self.flush_once()
            except Error as error:
                logger.warning("The database is away, output waits: %s", error)
                self.dirty.set()
                await asyncio.sleep(FLUSH_LATEST)
            took = time.monotonic() - began
            await asyncio.sleep(min(FLUSH_LATEST, max(FLUSH_SOONEST, FLUSH_SHARE * took)))

    async def flush_once(self) -> None:
        """One transaction with everything that waits; one at a time."""
        async with self.flushing:
            waiting = {key(f): (f, f.fold.cut()) for f in self.followers.values() if f.fold.dirty}
            if not waiting:
                return
            batches: dict[tuple[int, int], Batch] = {name: batch for name, (_, batch) in waiting.items()}
            ours = await self.in_thread(self.flusher, lambda: flush.write(batches))
            for (job, _), (follower, batch) in waiting.items():
                follower.fold.stored(batch)
                follower.room.set()
                if (batch.exit or job not in ours) and self.holds(follower.claim):
                    self.drop(job)


def key(follower: Follower) -> tuple[int, int]:
    """Job and epoch of a follower."""
    return follower.claim.job, follower.claim.epoch


def sweep_until(done: threading.Event) -> None:
    """The sweep and the apps' chores, until told to end; each fault is logged and the next round comes."""
    chores_at = 0.0
    while not done.wait(SWEEP_SECONDS):
        work: list[Callable[[], object]] = [lifecycle.sweep]
        if time.monotonic() >= chores_at:
            chores_at = time.monotonic() + CHORE_SECONDS
            work += registries.chores
        for job in work:
            try:
                close_old_connections()
                job()
            except Exception:
                logger.exception("%s failed in the sweep", getattr(job, "__name__", job))
    connections.close_all()
