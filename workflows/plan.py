"""What a run does next: a pure function of its manifest and its steps' rows.

The manifest's steps are units in a row: a step, or a block that repeats until its checker passes. The walk goes through
them from the start and stops at the first thing that is not done; nothing about where a run stands is kept elsewhere.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

STEP, TEST, JUDGE, EVALUATOR = "step", "test", "judge", "evaluator"
OPEN = {"waiting", "running"}


@dataclass(frozen=True)
class Place:
    """Where a row is in the run; the database has at most one row for each."""

    kind: str
    step: int
    iteration: int = 1
    candidate: int = 0


@dataclass(frozen=True)
class Row:
    """What the walk asks of a row: `passed` is a checker's verdict, `choice` the candidate that a judge chose."""

    place: Place
    status: str
    passed: bool | None = None
    choice: int = 0


@dataclass(frozen=True)
class Start:
    """These places get rows; they work at the same time. `base` is whose result they begin from."""

    places: tuple[Place, ...]
    base: Place | None


@dataclass(frozen=True)
class Wait:
    """Rows are at work."""


@dataclass(frozen=True)
class Finish:
    """All is done, or can't be: `completed` or `failed` with a reason; `result` is whose work counts."""

    status: str
    reason: str
    result: Place | None
    # The row that it failed at.
    at: Place | None = None


Move = Start | Wait | Finish


@dataclass
class Walk:
    """One walk over a run."""

    steps: Sequence[Mapping[str, Any]]
    rows: Mapping[Place, Row]
    # Whose work is the newest that counts, so far in the walk.
    base: Place | None = None
    # A verdict outside of a block, or the last one of a block.
    passed: bool = field(default=True)

    def step(self, number: int, iteration: int) -> Move | None:
        """What a step needs in an iteration; None when it is done, and `base` and `passed` say how."""
        spec, self.passed = self.steps[number], True
        several = len(spec["candidates"])
        wanted = [Place(STEP, number, iteration, place) for place in (range(1, several + 1) if several else [0])]
        if move := self._done(wanted):
            return move
        good = [place for place in wanted if self.rows[place].status == "succeeded"]
        if not good:
            return Finish("failed", "step_failed", self.base, wanted[0])
        if several:
            return self._choose(number, iteration, good)
        if self.rows[wanted[0]].passed is not None:
            self.passed = bool(self.rows[wanted[0]].passed)
        if spec["writes"]:
            self.base = wanted[0]
        return None

    def _done(self, wanted: Iterable[Place]) -> Move | None:
        """Start what is missing, wait for what is at work."""
        wanted = list(wanted)
        missing = tuple(place for place in wanted if place not in self.rows)
        if missing:
            return Start(missing, self.base)
        return Wait() if any(self.rows[place].status in OPEN for place in wanted) else None

    def _choose(self, number: int, iteration: int, good: list[Place]) -> Move | None:
        """One of several candidates: tested, then chosen by a judge, unless only one is left."""
        if self.steps[number]["test_script"].strip():
            tests = [Place(TEST, number, iteration, place.candidate) for place in good]
            for test, place in zip(tests, good, strict=True):
                if test not in self.rows:
                    return Start((test,), place)
            if move := self._done(tests):
                return move
        if len(good) == 1:
            self.base = good[0]
            return None
        judge = Place(JUDGE, number, iteration)
        if move := self._done([judge]):
            return move
        chosen = self.rows[judge].choice
        if self.rows[judge].status != "succeeded" or chosen not in {place.candidate for place in good}:
            return Finish("failed", "not_judged", self.base, judge)
        self.base = Place(STEP, number, iteration, chosen)
        return None


def plan(manifest: Mapping[str, Any], rows: Iterable[Row]) -> Move:
    """The next move of a run."""
    walk = Walk(manifest["steps"], {row.place: row for row in rows})
    for numbers, most in units(manifest):
        for iteration in range(1, most + 1):
            move, passed = _round(walk, numbers, iteration)
            if move:
                return move
            if passed:
                break
        else:
            return Finish("failed", "not_approved", walk.base, Place(STEP, numbers[-1], most))
    return Finish("completed", "finished", walk.base)


def _round(walk: Walk, numbers: Sequence[int], iteration: int) -> tuple[Move | None, bool]:
    """One pass over a unit's steps: a move that it needs, or whether it passed. After a `fail` the rest is left out."""
    for number in numbers:
        if move := walk.step(number, iteration):
            return move, False
        if not walk.passed:
            return None, False
    return None, True


def units(manifest: Mapping[str, Any]) -> Iterator[tuple[list[int], int]]:
    """(steps, how often at most) in order; a step outside of every block is a unit of its own."""
    blocks = {block["steps"][0]: block for block in manifest["blocks"]}
    number = 0
    while number < len(manifest["steps"]):
        block = blocks.get(number)
        yield (list(block["steps"]), int(block["most"])) if block else ([number], 1)
        number += len(block["steps"]) if block else 1


def block_of(manifest: Mapping[str, Any], number: int) -> Mapping[str, Any] | None:
    """The block that a step is in."""
    return next((block for block in manifest["blocks"] if number in block["steps"]), None)


def member(step: Mapping[str, Any], candidate: int) -> dict[str, Any]:
    """A step as one of its candidates does it; 0 for a step without any."""
    return {**step, **(step["candidates"][candidate - 1] if candidate else {})}
