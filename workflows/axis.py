"""When everything of a run happened: a lane for each step and candidate, with boot phases and turns, on one axis."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain

from django.utils import timezone

from codecourier.templatetags.portal import duration
from sandboxes.models import Phase

from .models import Run, StepRun

# The axis is so many units long, and has so many marks.
LENGTH, MARKS = 1000, 4
# A run that goes on is drawn on an axis that ends at one of these, in minutes, so that it seldom changes.
ENDS = (1, 2, 5, 10, 20, 30, 60, 120, 240, 480, 960, 1440)


@dataclass(frozen=True)
class Bar:
    """Something that took time: a phase of the boot, a turn, or waiting for one; `look` is its colour."""

    x: int
    width: int
    look: str
    title: str


@dataclass
class Lane:
    """What one step or candidate did, iteration after iteration."""

    name: str
    row: StepRun
    bars: list[Bar] = field(default_factory=list)


@dataclass(frozen=True)
class Axis:
    """Lanes in the order in which they began, and what stands below them."""

    lanes: list[Lane]
    marks: list[str]


@dataclass(frozen=True)
class Scale:
    """From moments to places on the axis."""

    start: datetime
    span: timedelta

    def bar(self, start: datetime, end: datetime, look: str, what: str) -> Bar:
        """At least so wide that it is seen."""
        x = max(0, min(LENGTH - 2, round((start - self.start) / self.span * LENGTH)))
        width = max(2, min(LENGTH - x, round((end - start) / self.span * LENGTH)))
        return Bar(x, width, look, f"{what}: {duration(end - start)}")


def axis(run: Run, rows: Iterable[StepRun], boots: Mapping[int, Sequence[Phase]]) -> Axis:
    """Of what this run did itself, until it was over; `boots` are the phases by sandbox."""
    mine = [row for row in rows if not row.reused and not (run.ended_at and row.created_at > run.ended_at)]
    span = length(run)
    scale, lanes = Scale(run.created_at, span), dict[tuple[str, int, int], Lane]()
    booted = set[int]()
    for row in mine:
        lane = lanes.setdefault((row.kind, row.step, row.candidate), Lane(name(row), row))
        boot = boots.get(row.sandbox_id or 0, ()) if row.sandbox_id not in booted else ()
        booted.add(row.sandbox_id or 0)
        lane.bars += bars(scale, row, boot)
    marks = [duration(span * mark / MARKS) if mark else "0" for mark in range(MARKS + 1)]
    return Axis(list(lanes.values()), marks)


def length(run: Run) -> timedelta:
    """How long the axis is: of a run that is over as long as it took."""
    took = (run.ended_at or timezone.now()) - run.created_at
    if run.ended_at:
        return max(took, timedelta(seconds=1))
    days = timedelta(days=took.days + 1)
    return next((timedelta(minutes=end) for end in ENDS if timedelta(minutes=end) >= took), days)


def name(row: StepRun) -> str:
    """What a lane is called: tests and judges after the step that they are for."""
    if row.kind in {StepRun.Kind.STEP, StepRun.Kind.EVALUATOR}:
        return f"{row.spec['name']}{f' {row.letter}' if row.letter else ''}"
    step = row.run.manifest["steps"][row.step]["name"]
    return f"{step} {row.letter}: test" if row.letter else f"{step}: {row.get_kind_display().lower()}"


def bars(scale: Scale, row: StepRun, boot: Sequence[Phase]) -> Iterable[Bar]:
    """A boot's phases, then the work; before it what the work waited for."""
    now, turn = row.ended_at or timezone.now(), row.turn
    phases = [
        scale.bar(phase.started_at, phase.ended_at or now, "boot", phase.get_name_display())
        for phase in boot if phase.started_at
    ]  # fmt: skip
    begun = turn.started_at if turn else None
    waits = [scale.bar(row.created_at, begun or now, "wait", "Waits")]
    label = f"Iteration {row.iteration}"
    work = [scale.bar(begun, now, row.status, f"{label}, {row.Status(row.status).label}")] if begun else []
    return chain(waits, phases, work)
