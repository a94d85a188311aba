"""A run as it is drawn: units one after another, a block's iterations below one another, candidates side by side.

All of it comes from the manifest, so that steps are seen before they start; what has a row says how it stands.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from personas.roles import ROLES, Role
from sandboxes.agents import AGENTS
from sandboxes.models import Sandbox, Turn

from .costs import Spent
from .models import Run, StepRun
from .plan import Place, block_of, member, units

W = StepRun.Status
STEP, TEST, JUDGE, EVALUATOR = StepRun.Kind.values
# Iterations before these are folded.
OPEN_ROUNDS = 2


@dataclass(frozen=True)
class Card:
    """One place of the run; `ghost` says why it has no row."""

    spec: Mapping[str, Any]
    row: StepRun | None = None
    ghost: str = ""
    letter: str = ""
    shown: bool = False
    # Whether the judge chose it, None while nobody has.
    won: bool | None = None
    spent: Spent = field(default_factory=Spent)
    test: "Card | None" = None

    @property
    def role(self) -> Role:
        """Its icon and colour."""
        return ROLES.get(self.spec["role"], ROLES["custom"])

    @property
    def tool(self) -> str:
        """The agent's name."""
        return AGENTS[self.spec["tool"]].name if self.spec["tool"] in AGENTS else self.spec["tool"]

    @property
    def state(self) -> tuple[str, str]:
        """(key of the colour, word)."""
        return standing(self.row) if self.row else ("waiting", self.ghost)


@dataclass(frozen=True)
class Edge:
    """What a checker said on the way to what comes next: on, back into another iteration, or to the end."""

    row: StepRun
    passed: bool
    findings: int
    back: bool


@dataclass(frozen=True)
class Cell:
    """A step in one iteration: one card, or candidates with their judge, and the verdict that leads on from it."""

    cards: list[Card]
    judge: Card | None = None
    edge: Edge | None = None


@dataclass(frozen=True)
class Round:
    """One iteration of a unit."""

    iteration: int
    cells: list[Cell]

    @property
    def shown(self) -> bool:
        """Whether the step that is looked at is in it."""
        return any(card.shown for cell in self.cells for card in cards(cell))


@dataclass(frozen=True)
class Unit:
    """A step, or a block with its iterations, the earliest first."""

    key: str
    rounds: list[Round]
    most: int = 1
    block: bool = False

    @property
    def earlier(self) -> list[Round]:
        """Those that are folded."""
        return self.rounds[:-OPEN_ROUNDS]

    @property
    def recent(self) -> list[Round]:
        """Those that are not."""
        return self.rounds[-OPEN_ROUNDS:]

    @property
    def opened(self) -> bool:
        """Whether the fold has what is looked at."""
        return any(one.shown for one in self.earlier)


def cards(cell: Cell) -> Iterator[Card]:
    """All of a cell."""
    yield from cell.cards
    yield from (card.test for card in cell.cards if card.test)
    if cell.judge:
        yield cell.judge


def standing(row: StepRun) -> tuple[str, str]:
    """(key of the colour, word): a step at work says what its machine and its turn do."""
    if row.status == W.RUNNING and row.run.held and row.turn and row.turn.status == Turn.Status.INTERRUPTED:
        return "interrupted", "Waits for you"
    if row.status == W.RUNNING and row.sandbox and row.sandbox.status == Sandbox.Status.CREATING:
        return "creating", "Booting"
    return row.status, str(row.Status(row.status).label)


@dataclass
class Drawing:
    """What the units are drawn from; `shown` is the row that is looked at."""

    run: Run
    rows: Mapping[Place, StepRun]
    spent: Mapping[int, Spent]
    shown: StepRun | None = None

    def units(self) -> Iterator[Unit]:
        """In their order, with the score at the end."""
        for numbers, most in units(self.run.manifest):
            inside = [row.iteration for row in self.rows.values() if row.step in numbers and row.kind != EVALUATOR]
            last = max(inside, default=1)
            rounds = [self.round(numbers, iteration, last, most) for iteration in range(1, last + 1)]
            yield Unit(f"{numbers[0]}", rounds, most, block_of(self.run.manifest, numbers[0]) is not None)
        yield from self.score()

    def round(self, numbers: Sequence[int], iteration: int, last: int, most: int) -> Round:
        """One iteration; what a failed check left out says so."""
        ghost = "Left out" if iteration < last else "Not reached" if self.run.final else "Not started"
        return Round(iteration, [self.cell(number, iteration, ghost, iteration < most) for number in numbers])

    def cell(self, number: int, iteration: int, ghost: str, again: bool) -> Cell:
        """A step."""
        step = self.run.manifest["steps"][number]
        several = len(step["candidates"])
        if not several:
            card = self.card(Place(STEP, number, iteration), step, ghost)
            return Cell([card], edge=edge(card.row, again))
        judge = self.card(Place(JUDGE, number, iteration), step["judge"], ghost)
        winner = chosen(judge.row) or self.survivor(number, iteration)
        made = [self.candidate(Place(STEP, number, iteration, one), ghost, winner) for one in range(1, several + 1)]
        return Cell(made, judge)

    def candidate(self, place: Place, ghost: str, winner: int) -> Card:
        """One of several, with its test."""
        step = self.run.manifest["steps"][place.step]
        test = None
        if step["test_script"].strip():
            where = Place(TEST, place.step, place.iteration, place.candidate)
            test = self.card(where, {**step, "tool": "script", "name": "Test"}, ghost)
        won = place.candidate == winner if winner else None
        return self.card(place, member(step, place.candidate), ghost, won=won, test=test)

    def survivor(self, number: int, iteration: int) -> int:
        """The candidate that goes on without a judge, as the only one that succeeded; 0 while that is open."""
        mine = [row for row in self.rows.values() if (row.kind, row.step, row.iteration) == (STEP, number, iteration)]
        good = [row.candidate for row in mine if row.status == W.SUCCEEDED]
        return good[0] if len(good) == 1 and all(row.final for row in mine) else 0

    def card(self, place: Place, spec: Mapping[str, Any], ghost: str, **more: Any) -> Card:
        """What is at a place."""
        row = self.rows.get(place)
        letter = chr(ord("A") + place.candidate - 1) if place.candidate else ""
        spent = self.spent.get(row.pk, Spent()) if row else Spent()
        return Card(spec, row, ghost, letter, bool(row and self.shown and row.pk == self.shown.pk), spent=spent, **more)

    def score(self) -> Iterator[Unit]:
        """The evaluators that were asked, or the one that will be."""
        spec, step = self.run.manifest.get("evaluator"), len(self.run.manifest["steps"])
        asked = sorted(row.iteration for row in self.rows.values() if row.kind == EVALUATOR)
        if not spec or not (asked or (self.run.manifest.get("evaluate") and not self.run.final)):
            return
        places = [Place(EVALUATOR, step, iteration) for iteration in asked or [1]]
        made = [Round(place.iteration, [Cell([self.card(place, spec, "Not started")])]) for place in places]
        yield Unit("score", made)


def edge(row: StepRun | None, again: bool) -> Edge | None:
    """What a checker's verdict leads to; None without one."""
    if row is None or not row.verdict or not isinstance(row.answer, dict):
        return None
    found = row.answer.get("findings")
    back = row.verdict != "pass" and again and block_of(row.run.manifest, row.step) is not None
    return Edge(row, row.verdict == "pass", len(found) if isinstance(found, list) else 0, back)


def chosen(judge: StepRun | None) -> int:
    """The number of the candidate that a judge chose, 0 without a choice."""
    answer = judge.answer if judge and isinstance(judge.answer, dict) else {}
    choice = str(answer.get("choice", ""))
    return ord(choice) - ord("A") + 1 if len(choice) == 1 else 0


def draw(run: Run, rows: Iterable[StepRun], spent: Mapping[int, Spent], shown: StepRun | None) -> list[Unit]:
    """The units of a run."""
    return [*Drawing(run, {row.place: row for row in rows}, spent, shown).units()]
