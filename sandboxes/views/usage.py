"""What a sandbox used and what it costs."""

import json
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from sandboxes import e2b, metrics
from sandboxes.bill import bill
from sandboxes.models import Sandbox

from .pages import sandbox_of


@require_safe
def usage(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """The figures as they stand: to the page that asks again and again as a part, to anybody else as a page."""
    sandbox = sandbox_of(request, slug, pk)
    part = "HX-Request" in request.headers
    return render(request, "sandboxes/_usage_figures.html" if part else "sandboxes/usage_detail.html", figures(sandbox))


def figures(sandbox: Sandbox) -> dict[str, Any]:
    """The bill, and what the machine used as a chart and in a table."""
    series = metrics.series(sandbox)
    turns = sandbox.turns.exclude(status="queued").select_related("job")
    return {
        "sandbox": sandbox,
        "project": sandbox.project,
        "bill": bill(sandbox, turns, sandbox.phases.all()),
        "problem": series.problem,
        "resources": resources(series.moments),
        "chart": json.dumps(chart(series.moments)) if series.moments else "",
    }


def chart(moments: list[e2b.Usage]) -> dict[str, list[float]]:
    """Milliseconds since 1970, percent of all CPUs, bytes."""
    return {
        "at": [round(usage.at.timestamp() * 1000) for usage in moments],
        "cpu": [round(usage.cpu, 1) for usage in moments],
        "memory": [usage.memory for usage in moments],
        "disk": [usage.disk for usage in moments],
    }


def resources(moments: list[e2b.Usage]) -> list[dict[str, Any]]:
    """A row for each: what was last, what is usual, what was most, and how much there is."""
    if not moments:
        return []
    last = moments[-1]
    return [
        {"name": "CPU", "unit": "%", "total": None, **spread(moments, lambda usage: usage.cpu)},
        {"name": "Memory", "unit": "bytes", "total": last.memory_total, **spread(moments, lambda usage: usage.memory)},
        {"name": "Disk", "unit": "bytes", "total": last.disk_total, **spread(moments, lambda usage: usage.disk)},
    ]


def spread(moments: list[e2b.Usage], value: Callable[[e2b.Usage], float]) -> dict[str, float]:
    """The last, the mean and the highest value."""
    values = [value(usage) for usage in moments]
    return {"last": values[-1], "mean": sum(values) / len(values), "peak": max(values)}
