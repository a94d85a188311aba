"""How iterations of runs were judged, for reports of what each is worth."""

from collections.abc import Collection

from .models import StepRun


def of_runs(runs: Collection[int]) -> dict[tuple[int, int], bool]:
    """By (run, iteration) whether all that judged it let it pass; see `registries.verdicts`."""
    rows = StepRun.objects.filter(
        run__in=runs, status=StepRun.Status.SUCCEEDED, answer__has_key="verdict", reused=False
    )
    found = dict[tuple[int, int], bool]()
    for run, iteration, verdict in rows.values_list("run_id", "iteration", "answer__verdict"):
        found[run, iteration] = found.get((run, iteration), True) and verdict == "pass"
    return found
