"""`advance(run)`: looks at the rows, and makes the next moves of one run. It keeps nothing in memory.

settle (rows whose turn is over) ──> plan (pure) ──> Start: rows ──> begin: a sandbox or its next turn
                                               └──> Finish: score ──> publish ──> completed | failed ──> clean up

It is called by tasks that reactions enqueue and by the sweep, leased. Called twice it does nothing twice: a place in
the run has one row, a row has one turn, and both are written in one transaction with what makes them needed.
"""

import logging

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from sandboxes.models import Checkpoint

from . import finishing, machines, queue, settling
from .models import Run, StepRun
from .plan import Finish, Place, Row, Start, Wait, plan
from .reasons import Reason

logger = logging.getLogger(__name__)

R, W = Run.Status, StepRun.Status
# So many unexpected exceptions in a row end a run; with the back-off that is about a minute.
GIVE_UP = 6


def advance(run: Run) -> None:
    """Bring one run, leased to the caller, as far as it goes now; every exception ends up in its row."""
    try:
        step(run)
    except Exception:
        if run.attempts < GIVE_UP or run.final:
            raise
        logger.exception("Run %s is given up", run.pk)
        run.refresh_from_db()
        if not run.final:
            finishing.end(run, R.FAILED, Reason.INTERNAL, Reason.sentence(Reason.INTERNAL))


def step(run: Run) -> None:
    """One look at where it stands, and what follows from that."""
    if run.cancel_asked and not run.final:
        finishing.cancel(run)
    elif run.status == R.PENDING:
        if queue.admitted(run):
            work(run)
    elif run.status == R.RUNNING:
        work(run)
    if run.final:
        for row in run.step_runs.open().select_related("sandbox", "turn", "base"):
            look(run, row)
        finishing.after(run)


def work(run: Run) -> None:
    """Settle what is over, then start what is next, until there is only waiting left."""
    rows = list(run.step_runs.select_related("sandbox", "turn", "checkpoint", "base"))
    for row in rows:
        look(run, row)
    move = plan(run.manifest, [light(row) for row in rows])
    while isinstance(move, Start):
        started = start(run, move, rows)
        rows += started
        for row in started:
            begin(row)
        move = plan(run.manifest, [light(row) for row in rows])
    machines.rest(run, rows)
    if isinstance(move, Finish):
        finishing.finish(run, move, rows)
    elif isinstance(move, Wait) and not any(row.status == W.WAITING for row in rows):
        run.hold(settling.waits_for(rows))


def look(run: Run, row: StepRun) -> None:
    """What one row needs by itself."""
    row.run = run
    if row.status == W.RUNNING:
        settling.pin_base(row)
        settling.settle(row)
    elif row.status == W.WAITING:
        begin(row)


def light(row: StepRun) -> Row:
    """A row as the plan sees it."""
    answer = row.answer if isinstance(row.answer, dict) else {}
    passed = row.verdict == "pass" if row.verdict else None
    choice = str(answer.get("choice", "")) if row.kind == StepRun.Kind.JUDGE else ""
    return Row(row.place, row.status, passed, ord(choice) - ord("A") + 1 if len(choice) == 1 else 0)


def start(run: Run, move: Start, rows: list[StepRun]) -> list[StepRun]:
    """The rows of what starts now, from the result that it begins with; another worker's are found and kept."""
    base = result(run, move.base, rows)
    made = []
    for place in move.places:
        defaults = {"status": W.WAITING, "base": base}
        where = {"kind": place.kind, "step": place.step, "iteration": place.iteration, "candidate": place.candidate}
        with transaction.atomic():
            row, new = StepRun.objects.get_or_create(run=run, **where, defaults=defaults)
            if new:
                row.record("", row.status, row.created_at)
                row.nudge()
        row.run = run
        made.append(row)
    return made


def result(run: Run, place: Place | None, rows: list[StepRun]) -> Checkpoint | None:
    """The state of the work after a place; before the first, what the run began with."""
    row = next((row for row in rows if place and row.place == place), None)
    return row.checkpoint if row else run.continues


def begin(row: StepRun) -> None:
    """Give a waiting row its turn; what can't be started fails with its sentence, what has to wait says why."""
    try:
        machines.employ(row)
    except machines.Held as held:
        row.run.hold(str(held))
    except ValidationError as error:
        sentence = " ".join(error.messages)
        row.move(W.FAILED, reason=Reason.LAUNCH_FAILED, detail=sentence, ended_at=timezone.now())
    else:
        row.run.hold("")
