"""Watching a run from a terminal: its steps and what their agents say, as events in their order, until it is over."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Q

from codecourier.lifecycle import Transition
from sandboxes import watching
from sandboxes.models import Sandbox

from . import costs
from .models import Run, StepRun


@dataclass
class Watch:
    """A cursor over one run's timeline and over its machines."""

    run: Run
    transition: int = 0
    machines: dict[int, watching.Watch] = field(default_factory=dict)
    # Machines of which nothing more can come.
    done: set[int] = field(default_factory=set)

    def events(self) -> Iterator[dict[str, Any]]:
        """Every event as it comes, until the run is over and its machines have ended."""
        with watching.listening() as wait:
            while True:
                self.run.refresh_from_db()
                over = self.run.final and self.run.cleaned_at is not None
                yield from self.news()
                if over:
                    return
                wait()

    def news(self) -> Iterator[dict[str, Any]]:
        """What happened since the last look: what agents say first, as a move may tell of its end."""
        rows = list(self.run.step_runs.filter(reused=False).select_related("sandbox").order_by("id"))
        for row in rows:
            row.run = self.run
        by_machine = {row.sandbox.pk: (row.sandbox, row) for row in rows if row.sandbox}
        for pk, (sandbox, row) in by_machine.items():
            if pk not in self.done:
                yield from self._said(sandbox, row)
        yield from self._moves({row.pk: row for row in rows})

    def _said(self, sandbox: Sandbox, row: StepRun) -> Iterator[dict[str, Any]]:
        over = sandbox.final and sandbox.released_at is not None
        watch = self.machines.setdefault(sandbox.pk, watching.Watch(sandbox))
        for event in watch.news():
            yield {**event, "sandbox": sandbox.pk, "step": label(row)}
        if over:
            self.done.add(sandbox.pk)

    def _moves(self, rows: dict[int, StepRun]) -> Iterator[dict[str, Any]]:
        mine = Q(kind="workflows.run", object_id=self.run.pk) | Q(kind="workflows.steprun", object_id__in=rows)
        for move in Transition.objects.filter(mine, pk__gt=self.transition).order_by("pk"):
            self.transition = move.pk
            said = {"status": move.new, "reason": move.reason, "detail": move.detail, "at": move.at.isoformat()}
            if move.kind == "workflows.run":
                yield {"event": "run", "run": self.run.pk, **said}
            else:
                row = rows[move.object_id]
                yield {"event": "step", **place(row), **said, **answered(row, move.new)}


def label(row: StepRun) -> str:
    """What a step at work is called on a line."""
    parts = [str(row.spec["name"])]
    parts += [f"candidate {row.letter}"] if row.letter else []
    parts += [row.get_kind_display().lower()] if row.kind == StepRun.Kind.TEST else []
    parts += [f"iteration {row.iteration}"] if row.iteration > 1 else []
    return ", ".join(parts)


def place(row: StepRun) -> dict[str, Any]:
    """Where a step is in its run."""
    return {
        "step": label(row), "number": row.step + 1, "kind": row.kind, "iteration": row.iteration,
        "candidate": row.letter, "sandbox": row.sandbox_id,
    }  # fmt: skip


def answered(row: StepRun, status: str) -> dict[str, Any]:
    """What it answered by contract, once it has."""
    return {"answer": row.answer} if status == StepRun.Status.SUCCEEDED and row.answer else {}


def record(run: Run) -> dict[str, Any]:
    """The closing record of a run."""
    run.refresh_from_db()
    spent, pull = costs.of_run(run), run.pull_request
    return {
        "event": "record", "run": run.pk, "workflow": run.workflow_name, "status": run.status, "reason": run.reason,
        "detail": run.detail, "score": run.score, "branch": run.work_branch,
        "commit": run.checkpoint.commit if run.checkpoint else None,
        "pull_request": pull.url or None if pull else None,
        "seconds": run.took.total_seconds() if run.took else None,
        "steps": [{**place(row), "status": row.status} for row in run.step_runs.order_by("id")],
        "tokens": spent.tokens,
        # USD as a decimal in a text; null when nothing of it has a rate or was counted.
        "cost": None if spent.total.known is None else f"{spent.total.known:f}",
        "cost_complete": spent.total.whole, "unpriced": list(spent.total.unpriced),
    }  # fmt: skip
