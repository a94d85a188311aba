"""A comparison as a page shows it: the tree of all files, those of one page, and what of them is seen at once."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from django.core.paginator import Paginator

from codecourier.models import Project
from codecourier.redact import Redactor

from . import reading, rendering
from .reading import Change, Comparison
from .rendering import Note

PAGE = 100
# Files whose lines are there at once, so that the first look shows something: as long as they are short.
AT_ONCE, AT_ONCE_LINES = 4, 120
# Of those that somebody said something about, however long.
NOTED = 20

Notes = Mapping[str, Sequence[Note]]


def listed(
    project: Project, found: Comparison, address: str, number: str | None, *, split: bool,
    notes: Notes | None = None, at: str = "",
) -> dict[str, Any]:  # fmt: skip
    """All files in the tree, those of the page with what is shown of them at once. git.GitError.

    `address` with its query is where pages of it are, `number` the page that is asked for, unless the one with the file
    `at` is; `notes` are what is said of files, by their paths.
    """
    every, said = reading.changes(found), notes or {}
    shown = every[: reading.MOST_FILES]
    place = next((place for place, change in enumerate(shown) if at and change.path == at), None)
    page = Paginator(shown, PAGE).get_page(number if place is None else place // PAGE + 1)
    paths = {change.path for change in shown}
    return {
        "entries": entries([*page], found, Redactor(project.secrets()), said, split=split), "page": page,
        "tree": rendering.tree(shown, address, PAGE), "total": len(every), "more": len(every) - len(shown),
        "additions": sum(change.additions or 0 for change in every),
        "deletions": sum(change.deletions or 0 for change in every),
        "elsewhere": [named(note, path) for path, of in said.items() if path not in paths for note in of],
    }  # fmt: skip


def named(note: Note, path: str) -> Note:
    """With the file that it is about, which is not shown."""
    return replace(note, title=f"{note.title} · {path}") if path else note


def entries(
    changes: Sequence[Change], found: Comparison, redactor: Redactor, said: Notes, *, split: bool
) -> list[dict[str, Any]]:
    """The files of a page: the first short ones and those with notes are ready."""
    made, at_once, noted = [], AT_ONCE, NOTED
    for change in changes:
        notes = said.get(change.path, ())
        short = at_once and not change.folded and change.lines <= AT_ONCE_LINES
        entry: dict[str, Any] = {"change": change, "open": bool(notes) or not change.folded, "notes": notes}
        if not change.binary and (short or (notes and noted)):
            entry |= lines(found, change, redactor, split=split, notes=notes)
            at_once, noted = at_once - bool(short), noted - bool(notes)
        made.append(entry)
    return made


def lines(
    found: Comparison, change: Change, redactor: Redactor, *, split: bool, notes: Sequence[Note] = ()
) -> dict[str, Any]:
    """The rows of a file with what is said of them, or the sentence why there are none."""
    text, cut = reading.patch(found, change)
    try:
        rows = rendering.rows(text, change.path, redactor, split=split)
    except ValueError as error:
        return {"problem": str(error), "ready": True, "notes": notes}
    rows, left = rendering.noted(rows, notes)
    return {"rows": rows, "cut": cut, "ready": True, "notes": left}
