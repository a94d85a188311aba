"""The hub: one LISTEN connection in a process, which wakes whoever waits for a topic.

A wake carries no data and several fold into one: who is woken looks at the rows. After every (re)connect,
and every 5 s besides, everybody is told to look again, so a lost notification costs seconds at most.
"""

import asyncio
import logging
import time
from types import TracebackType
from typing import Self
from weakref import WeakKeyDictionary

import psycopg

from . import live

logger = logging.getLogger(__name__)

LOOK_AGAIN_SECONDS = 5.0
# Between attempts to connect: the database may be restarting, and dozens of processes wait for it.
BACKOFF_SECONDS, BACKOFF_LONGEST = 0.05, 2.0


class Subscription:
    """What one listener waits on; a context manager that subscribes and unsubscribes."""

    def __init__(self, hub: "Hub", topics: tuple[str, ...]) -> None:
        self.hub, self.topics = hub, topics
        self.woken = asyncio.Event()
        self.woken_at = time.monotonic()

    def wake(self) -> None:
        """There may be something new, as of now."""
        self.woken_at = time.monotonic()
        self.woken.set()

    async def wait(self, seconds: float | None = None) -> bool:
        """Until there may be something new since the last call; False when the time was over before."""
        try:
            async with asyncio.timeout(seconds):
                await self.woken.wait()
        except TimeoutError:
            return False
        self.woken.clear()
        return True

    async def __aenter__(self) -> Self:
        self.hub.add(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.hub.remove(self)


class Hub:
    """The subscriptions of one event loop; it listens while there are any."""

    def __init__(self) -> None:
        self.topics: dict[str, set[Subscription]] = {}
        self.count = 0
        self.listener: asyncio.Task[None] | None = None

    def add(self, subscription: Subscription) -> None:
        """Wake it from now on."""
        for topic in subscription.topics:
            self.topics.setdefault(topic, set()).add(subscription)
        self.count += 1
        if self.listener is None:
            self.listener = asyncio.create_task(self.listen(), name="hub")

    async def remove(self, subscription: Subscription) -> None:
        """Never wake it again; with the last one the connection goes."""
        for topic in subscription.topics:
            others = self.topics.get(topic, set())
            others.discard(subscription)
            if not others:
                self.topics.pop(topic, None)
        self.count -= 1
        if not self.count and self.listener:
            listener, self.listener = self.listener, None
            listener.cancel()
            await asyncio.wait([listener])

    def wake(self, topic: str) -> None:
        """Everybody who waits for this topic."""
        for subscription in self.topics.get(topic, ()):
            subscription.wake()

    def wake_all(self) -> None:
        """Everybody."""
        for topic in self.topics:
            self.wake(topic)

    async def listen(self) -> None:
        """Stay connected for as long as this runs; a database that is away is waited for."""
        pause = BACKOFF_SECONDS
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(**live.parameters(), autocommit=True) as connection:
                    await connection.execute(f"LISTEN {live.CHANNEL}")
                    pause = BACKOFF_SECONDS
                    await self.pass_on(connection)
            except (psycopg.Error, OSError, TimeoutError) as error:
                logger.warning("The hub can't listen to the database: %s", str(error).strip() or type(error).__name__)
            except Exception:
                logger.exception("The hub failed")
            await asyncio.sleep(pause)
            pause = min(2 * pause, BACKOFF_LONGEST)

    async def pass_on(self, connection: psycopg.AsyncConnection) -> None:
        """Wake whom each notification concerns; a connection that doesn't answer for 5 s is given up."""
        while True:
            self.wake_all()
            async for notification in connection.notifies(timeout=LOOK_AGAIN_SECONDS):
                self.wake(notification.payload)
            async with asyncio.timeout(LOOK_AGAIN_SECONDS):
                await connection.execute("SELECT 1")


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def subscribe(*topics: str) -> Subscription:
    """`async with subscribe("job:7") as changes: ... await changes.wait()`; call it in a running loop."""
    loop = asyncio.get_running_loop()
    return Subscription(_hubs.setdefault(loop, Hub()), topics)
