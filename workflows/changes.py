"""What a step of a run changed, what the run changed so far, and what a step changed that was dropped."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.urls import reverse
from django.utils.http import urlencode

from codecourier import git
from sandboxes.changes import reading, showing
from sandboxes.changes.reading import Comparison
from sandboxes.checkpoints.store import Store

from . import answers
from .models import Run, StepRun
from .prompts import base_of

WORDS = {"step": "This step", "run": "The run so far", "dropped": "What was dropped"}


@dataclass(frozen=True)
class Asked:
    """Whose changes, of what kind, and how they are written in an address."""

    run: Run
    row: StepRun | None
    of: str
    kinds: Mapping[str, tuple[str, str]]
    params: Mapping[str, str]

    @property
    def split(self) -> bool:
        """Two columns."""
        return self.params.get("view") == "split"

    @property
    def found(self) -> Comparison:
        """What is compared; empty while nothing is saved."""
        base, head = self.kinds.get(self.of, ("", ""))
        return Comparison(Store.of(self.run.project), base, head, "", "", [])

    def query(self, **changes: str) -> str:
        """The address's query, with changes; a step that nobody asked for is left to the run."""
        named = {"step_run": self.params.get("step_run", ""), "of": self.of, "view": self.params.get("view", "")}
        return urlencode({name: value for name, value in {**named, **changes}.items() if value})


def kinds(run: Run, row: StepRun | None) -> dict[str, tuple[str, str]]:
    """(from, to) commits of each kind of changes that there are; the first is the usual one."""
    start, found = base_of(run), dict[str, tuple[str, str]]()
    left = row.checkpoint or row.base if row else run.checkpoint
    base = row.base.commit if row and row.base else start
    if row and row.checkpoint and row.checkpoint != row.base:
        found["step"] = (base, row.checkpoint.commit)
    if left:
        found["run"] = (start, left.commit)
    if row and row.dropped:
        found["dropped"] = (base, row.dropped.commit)
    return found


def asked(run: Run, row: StepRun | None, params: Mapping[str, str]) -> Asked:
    """By an address; what it doesn't say is usual."""
    known = kinds(run, row)
    usual = next(iter(known), "run")
    of = params.get("of", "")
    return Asked(run, row, of if of in known else usual, known, params)


def context(which: Asked) -> dict[str, Any]:
    """What the tab shows: the files of one page, with a checker's findings where they belong."""
    run = which.run
    here = reverse("workflows:run-changes", args=[run.project.slug, run.pk])
    shown: dict[str, Any] = {
        "project": run.project, "run": run, "row": which.row, "of": which.of, "split": which.split, "here": here,
        "file_here": reverse("workflows:run-changes-file", args=[run.project.slug, run.pk]),
        "patch": f"{reverse('workflows:run-patch', args=[run.project.slug, run.pk])}?{which.query()}",
        "query": which.query(), "other": which.query(view="" if which.split else "split"),
        "kinds": [(name, WORDS[name], which.query(of=name)) for name in which.kinds],
        "empty": which.found.empty,
    }  # fmt: skip
    if not which.found.empty:
        try:
            shown |= listed(which, f"{here}?{which.query()}")
        except git.GitError as error:
            shown["problem"] = f"The portal's repository can't be read: {error}"
    return shown


def listed(which: Asked, address: str) -> dict[str, Any]:
    """The files, from the page with the note that is asked for on."""
    said = notes(which)
    note = which.params.get("note", "")
    at = next((path for path, of in said.items() if any(one.id == note for one in of)), "")
    page = which.params.get("page")
    return showing.listed(which.run.project, which.found, address, page, split=which.split, notes=said, at=at)


def notes(which: Asked) -> showing.Notes:
    """Findings are about all that the step looked at."""
    return answers.notes(answers.read(which.row)) if which.of == "run" else {}


def dropped(run: Run, row: StepRun | None) -> int:
    """How many files a step changed that were dropped."""
    if row is None or row.dropped is None:
        return 0
    try:
        return len(reading.changes(asked(run, row, {"of": "dropped"}).found))
    except git.GitError:
        return 0
