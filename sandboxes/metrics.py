"""What machines use over time: sampled while they run, and kept for when they are gone."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from django.db.models import Max

from . import e2b
from .models import Sample, Sandbox
from .upkeep import due

logger = logging.getLogger(__name__)

# A moment is kept so often; in between nobody needs it once the machine is gone.
EVERY = timedelta(seconds=15)
# So many machines are asked at once, and what isn't answered by then is asked next time.
AT_ONCE, ROUND_SECONDS = 8, 5
# More points than this can't be told apart on a chart.
POINTS = 240
NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Series:
    """Moments in their order, and why the newest are missing if they are."""

    moments: list[e2b.Usage] = field(default_factory=list)
    problem: str = ""


def sample() -> None:
    """A chore: keep what the running machines used since the last time; those that wait longest are asked first."""
    if not due("samples", int(EVERY.total_seconds())):
        return
    rows = Sandbox.objects.filter(status=Sandbox.Status.RUNNING).exclude(provider_id="").select_related("project")
    last = dict(Sample.objects.filter(sandbox__in=rows).order_by().values_list("sandbox").annotate(Max("at")))
    asked = sorted(rows, key=lambda sandbox: last.get(sandbox.pk, NEVER))
    for sandbox, moments in answers(asked, last):
        keep(sandbox, thinned(moments, last.get(sandbox.pk)))


def answers(rows: list[Sandbox], last: Mapping[int, datetime]) -> Iterator[tuple[Sandbox, list[e2b.Usage]]]:
    """What the machines say, of those that answer in time; nothing that a provider does holds a chore up."""
    pool = ThreadPoolExecutor(AT_ONCE)
    asked = {
        pool.submit(e2b.metrics, provider, sandbox.provider_id, last.get(sandbox.pk)): sandbox
        for sandbox, provider in reachable(rows)
    }
    done, _ = wait(asked, timeout=ROUND_SECONDS)
    pool.shutdown(wait=False, cancel_futures=True)
    for future in done:
        if (found := answer(future)) is not None:
            yield asked[future], found


def answer(future: "Future[list[e2b.Usage]]") -> list[e2b.Usage] | None:
    """None where the machine did not say."""
    try:
        return future.result()
    except e2b.ProviderError as error:
        logger.debug("No sample: %s", error)
        return None


def reachable(rows: Iterable[Sandbox]) -> Iterator[tuple[Sandbox, e2b.Provider]]:
    """Those whose provider can be asked."""
    for sandbox in rows:
        try:
            yield sandbox, e2b.provider_of(sandbox.project)
        except e2b.Denied as error:
            logger.debug("No sample: %s", error)


def keep(sandbox: Sandbox, moments: Iterable[e2b.Usage]) -> None:
    """Store them; two relays that heard the same store it once."""
    Sample.objects.bulk_create((row(sandbox, usage) for usage in moments), ignore_conflicts=True)


def thinned(moments: Iterable[e2b.Usage], last: datetime | None) -> Iterator[e2b.Usage]:
    """Those that lie far enough apart, with the clock of whole seconds that providers have in mind."""
    for usage in moments:
        if last is None or usage.at - last >= EVERY - timedelta(seconds=1):
            last = usage.at
            yield usage


def row(sandbox: Sandbox, usage: e2b.Usage) -> Sample:
    """As it is stored."""
    return Sample(
        sandbox=sandbox,
        at=usage.at,
        cpu=usage.cpu,
        memory=usage.memory,
        memory_total=usage.memory_total,
        disk=usage.disk,
        disk_total=usage.disk_total,
    )


def series(sandbox: Sandbox) -> Series:
    """What is stored, and of a running machine what came since."""
    stored = [
        e2b.Usage(one.at, one.cpu, one.memory, one.memory_total, one.disk, one.disk_total)
        for one in Sample.objects.filter(sandbox=sandbox).order_by("at")
    ]
    if sandbox.status != Sandbox.Status.RUNNING or not sandbox.provider_id:
        return Series(sparse(stored))
    since = stored[-1].at if stored else None
    try:
        newer = e2b.metrics(e2b.provider_of(sandbox.project), sandbox.provider_id, since)
    except e2b.ProviderError as error:
        return Series(sparse(stored), str(error))
    return Series(sparse([*stored, *(usage for usage in newer if since is None or usage.at > since)]))


def sparse(moments: list[e2b.Usage]) -> list[e2b.Usage]:
    """At most so many that a chart can show, the newest among them."""
    step = -(-len(moments) // POINTS) or 1
    return moments[::-1][::step][::-1]
