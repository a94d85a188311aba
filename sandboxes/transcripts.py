"""What the stored events of a job say: how it ended, what it used, where its conversation goes on."""

from collections.abc import Collection
from typing import Any

from .agents import Found
from .models import Event, Job, Output

STDERR_BYTES = 4000
TOKENS = ("input", "output", "cache_read", "cache_write", "reasoning")
# Part of the cache writes, told where there are any.
HOUR = "cache_write_1h"


def found(job: Job) -> Found:
    """For the agent's judgement."""
    rows = Event.objects.filter(job=job, kind__in=["end", "error"]).order_by("seq").values_list("kind", "data")
    ends = [data for kind, data in rows if kind == "end"]
    errors = tuple(data for kind, data in rows if kind == "error")
    return Found(ends[-1] if ends else None, errors, stderr(job))


def stderr(job: Job) -> str:
    """The end of what it printed there."""
    rows = Output.objects.filter(job=job, stream=Output.Stream.STDERR).order_by("-seq").values_list("data", flat=True)
    parts, size = list[bytes](), 0
    for data in rows[:50]:
        parts.append(bytes(data))
        size += len(data)
        if size >= STDERR_BYTES:
            break
    return b"".join(reversed(parts))[-STDERR_BYTES:].decode(errors="replace")


def usage(job: Job) -> dict[str, dict[str, int]] | None:
    """Tokens by model; None where the agent told none."""
    return usages([job.pk]).get(job.pk)


def usages(jobs: Collection[int]) -> dict[int, dict[str, dict[str, int]]]:
    """The same of many, by their ids, with one question; without those that told none."""
    found: dict[int, dict[str, dict[str, int]]] = {}
    for job, data in Event.objects.filter(job__in=jobs, kind="usage").values_list("job_id", "data") if jobs else ():
        total = found.setdefault(job, {}).setdefault(str(data.get("model") or ""), dict.fromkeys(TOKENS, 0))
        for name in TOKENS:
            total[name] += count(data.get(name))
        if hour := count(data.get(HOUR)):
            total[HOUR] = total.get(HOUR, 0) + hour
    return found


def count(value: Any) -> int:
    """A number of tokens; whatever isn't one counts nothing."""
    return value if type(value) is int and abs(value) < 2**53 else 0


def session(job: Job, before: dict[str, Any]) -> dict[str, Any]:
    """The agent's conversation after this job: its id, and what its last word on its counts was, for the next time."""
    told = Event.objects.filter(job=job, kind="session").order_by("-seq").values_list("data", flat=True).first()
    counted = Event.objects.filter(job=job, kind__in=["end", "usage"], data__has_key="baseline").exclude(
        data__baseline={}
    )
    last = counted.order_by("-seq").values_list("data", flat=True).first()
    found = dict(before)
    if told and isinstance(told.get("id"), str) and told["id"]:
        found["id"] = told["id"]
    if last and isinstance(last["baseline"], dict):
        found["baseline"] = last["baseline"]
    return found
