"""What several sandboxes cost together: those of a run, which are what a pull request of it cost as well."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import or_

from django.db.models import Q

from codecourier import registries

from .bill import bills
from .models import PullRequest, Sandbox
from .price import Cost


@dataclass
class Costs:
    """In all, with what sandboxes used that are there no more."""

    total: Cost = field(default_factory=Cost)
    tokens: int = 0


def of_runs(runs: Collection[int]) -> dict[int, Costs]:
    """Of runs by their ids, with a handful of questions however many they are."""
    # Each by the index on labels, which knows what they contain.
    theirs = reduce(or_, (Q(labels__contains={"run_id": run}) for run in runs), Q(pk__in=[]))
    sandboxes = list(Sandbox.objects.filter(theirs).select_related("template"))
    made, found = bills(sandboxes), {run: Costs() for run in runs}
    for sandbox in sandboxes:
        costs, one = found[sandbox.labels["run_id"]], made[sandbox.pk]
        costs.total += one.total
        costs.tokens += one.taken + one.totals.get("output", 0)
    for run, (cost, tokens) in removed(runs).items():
        found[run].total += cost
        found[run].tokens += tokens
    return found


def removed(runs: Collection[int]) -> dict[int, tuple[Cost, int]]:
    """What those sandboxes of runs cost that are there no more, and how many tokens they used, by the runs' ids."""
    return {run: used for recall in registries.removed for run, used in recall(runs).items()}


def of_pulls(pulls: Sequence[PullRequest]) -> dict[int, Cost]:
    """What the work for each pull request cost, by its id: its run's, else its sandbox's."""
    runs = {pull.pk: run for pull in pulls if type(run := pull.sandbox.labels.get("run_id")) is int}
    of_run, alone = of_runs({*runs.values()}), bills([pull.sandbox for pull in pulls if pull.pk not in runs])
    return {pull.pk: of_run[runs[pull.pk]].total if pull.pk in runs else alone[pull.sandbox_id].total for pull in pulls}
