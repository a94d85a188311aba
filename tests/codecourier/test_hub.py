"""The hub: who waits for a topic is woken when it is nudged, also after the database was away."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from asgiref.sync import sync_to_async
from django.db import connection, connections, transaction

from codecourier import hub, live

pytestmark = pytest.mark.django_db(transaction=True)
LISTENERS = "FROM pg_stat_activity WHERE query LIKE 'LISTEN %%' AND datname = current_database()"


@pytest.fixture(autouse=True)
async def own_connection() -> AsyncIterator[None]:
    """Those of the database's threads end with the test."""
    yield
    await sync_to_async(connections.close_all)()


async def settled(changes: hub.Subscription) -> None:
    """Past the look-again that every new connection brings."""
    assert await changes.wait(30)
    await changes.wait(0.2)


async def test_a_nudge_wakes_those_who_wait_for_its_topic_and_no_others() -> None:
    async with hub.subscribe("job:1", "job:2") as both, hub.subscribe("job:3") as other:
        await settled(both)
        await settled(other)
        await sync_to_async(live.nudge)("job:2", "job:9")
        assert await both.wait(30)
        assert not await other.wait(0.2)


async def test_many_nudges_fold_into_one_wake() -> None:
    async with hub.subscribe("job:1") as changes:
        await settled(changes)
        for _ in range(20):
            await sync_to_async(live.nudge)("job:1")
        assert await changes.wait(30)
        await changes.wait(0.2)
        assert not await changes.wait(0.2)


def nudge_and_give_up() -> None:
    """As a flush that fails after its nudge."""
    with transaction.atomic():
        live.nudge("job:1")
        transaction.set_rollback(True)


async def test_what_is_rolled_back_wakes_nobody() -> None:
    async with hub.subscribe("job:1") as changes:
        await settled(changes)
        await sync_to_async(nudge_and_give_up)()
        assert not await changes.wait(0.3)


def kill_listener() -> int:
    """End the hub's connection in the database; how many there were."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(pg_terminate_backend(pid)) {LISTENERS}")
        return int(cursor.fetchone()[0])


async def test_after_a_lost_connection_everybody_looks_again_and_nudges_arrive() -> None:
    async with hub.subscribe("job:1") as changes:
        await settled(changes)
        assert await sync_to_async(kill_listener)() == 1
        assert await changes.wait(4), "woken by the reconnect, before the look that comes every 5 s"
        await changes.wait(0.2)
        await sync_to_async(live.nudge)("job:1")
        assert await changes.wait(4)


async def test_without_a_nudge_everybody_looks_again_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "LOOK_AGAIN_SECONDS", 0.2)
    async with hub.subscribe("job:1") as changes:
        await settled(changes)
        assert await changes.wait(30)


def listeners() -> int:
    """How many connections listen."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) {LISTENERS}")
        return int(cursor.fetchone()[0])


async def test_all_share_one_connection_and_the_last_one_closes_it() -> None:
    async with hub.subscribe("job:1") as one, hub.subscribe("job:2") as two:
        await settled(one)
        await settled(two)
        assert await sync_to_async(listeners)() == 1
    async with asyncio.timeout(20):
        for _ in range(1000):
            if await sync_to_async(listeners)() == 0:
                return
            await asyncio.sleep(0.02)
    pytest.fail("the hub's connection stayed open")
