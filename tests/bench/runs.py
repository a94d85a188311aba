"""What the engine costs: `uv run python -m tests.bench.runs [RUNS]`, one line of JSON.

RUNS (50) runs of two script steps, of five projects, all launched at once on the local host with four allowed to be at
work. Seconds from the moment in which a step's work is saved to the start of the next one (its sandbox asked for), and
beside it how long that sandbox then takes to boot; how the places were given out; and what the same scripts take in the
same machines without an engine between.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import django

HOME = tempfile.TemporaryDirectory(prefix="bench-runs-", ignore_cleanup_errors=True)
os.environ |= {
    "TEST_STATE": HOME.name, "DJANGO_SETTINGS_MODULE": "tests.settings", "RUNS_AT_ONCE": "4", "RUNS_PER_PROJECT": "4",
}  # fmt: skip
django.setup()

from sandboxes.models import Checkpoint  # noqa: E402
from tests.endtoend.script_runs import workflow  # noqa: E402
from tests.stack import Stack, running, wait_for  # noqa: E402
from workflows import runs  # noqa: E402
from workflows.models import Run, StepRun  # noqa: E402

RUNS, PROJECTS, AT_ONCE = 50, 5, 4
FIRST, SECOND = "echo one > one.txt", "cat one.txt > two.txt"


def main(argv: list[str]) -> int:
    """All of it; exit status 1 when a run did not complete."""
    count = int(argv[0]) if argv else RUNS
    with running(Path(HOME.name), RUNS_AT_ONCE=str(AT_ONCE), RUNS_PER_PROJECT=str(AT_ONCE)) as stack:
        alone = by_hand(stack)
        made, seconds = together(stack, count)
        report = {
            "runs": count, "at_once": AT_ONCE, "seconds": round(seconds, 1), **gaps(made), "fair": fairness(made),
            "most_at_once": at_once(made), "failed": [str(run.detail) for run in made if run.status != "completed"],
            "by_hand_seconds": round(alone, 2), "load": os.getloadavg()[0],
        }  # fmt: skip
    print(json.dumps(report))
    return 1 if report["failed"] else 0


def by_hand(stack: Stack) -> float:
    """Seconds of the same two scripts, one sandbox after the other, the second on the first one's work."""
    project, _ = stack.project()
    began = time.monotonic()
    first = stack.launch(project, FIRST)
    wait_for(lambda: first.checkpoints.stored().exists(), "the first work")
    second = stack.launch(project, SECOND, continues=first.checkpoints.stored().get())
    wait_for(lambda: second.checkpoints.stored().exists(), "the second work")
    return time.monotonic() - began


def together(stack: Stack, count: int) -> tuple[list[Run], float]:
    """All runs at once, and how long until the last one was over."""
    flows = [
        workflow(stack.project()[0], ("designer", FIRST, False), ("custom", SECOND, False), publish="nothing")
        for _ in range(PROJECTS)
    ]
    began = time.monotonic()
    made = [runs.launch(flows[number % PROJECTS], None, prompt=f"Run {number}.") for number in range(count)]
    ids = [run.pk for run in made]
    wait_for(lambda: not Run.objects.filter(pk__in=ids, ended_at=None).exists(), "all runs to end", 60.0 + 12 * count)
    return list(Run.objects.filter(pk__in=ids).order_by("pk")), time.monotonic() - began


def gaps(made: list[Run]) -> dict[str, float]:
    """Seconds between two steps of the same run, and of the boot that follows."""
    found, boots = [], []
    for run in made:
        steps = list(StepRun.objects.filter(run=run).order_by("step").select_related("sandbox", "turn"))
        if len(steps) < 2 or not steps[1].started_at or not steps[1].turn or not steps[1].turn.started_at:
            continue
        saved = Checkpoint.objects.filter(sandbox=steps[0].sandbox, turn__isnull=False).get().ended_at
        assert saved
        found.append((steps[1].started_at - saved).total_seconds())
        boots.append((steps[1].turn.started_at - steps[1].started_at).total_seconds())
    cut = statistics.quantiles(found, n=20)
    return {
        "between_steps_p50": round(statistics.median(found), 3), "between_steps_p95": round(cut[-1], 3),
        "between_steps_longest": round(max(found), 3), "boot_p50": round(statistics.median(boots), 3),
    }  # fmt: skip


def fairness(made: list[Run]) -> dict[str, int]:
    """Of each ten runs in the order of their starts, the fewest and the most that one project had."""
    order = sorted((run for run in made if run.started_at), key=lambda run: run.started_at or run.created_at)
    tens = [order[first : first + 10] for first in range(0, len(order) - 9, 10)]
    shares = [Counter(run.project_id for run in ten) for ten in tens]
    return {
        "fewest": min((min(share.values()) if len(share) == PROJECTS else 0 for share in shares), default=0),
        "most": max((max(share.values()) for share in shares), default=0),
    }


def at_once(made: list[Run]) -> int:
    """The most runs that were at work at one moment."""
    moments = [(run.started_at, 1) for run in made] + [(run.ended_at, -1) for run in made]
    most = now = 0
    for _, change in sorted((at, change) for at, change in moments if at):
        now += change
        most = max(most, now)
    return most


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
