"""A file's diff as rows of HTML: coloured, redacted, in one column or two."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from django.utils.html import escape, format_html, format_html_join
from django.utils.safestring import SafeString
from unidiff.errors import UnidiffParseError
from unidiff.patch import PatchSet

from codecourier import code
from codecourier.redact import Redactor

from . import reading
from .reading import Change

# Folders of a larger diff are closed.
OPEN_FILES = 300


@dataclass(frozen=True, slots=True)
class Line:
    """One side's line; `sign` is "+", "-" or " "."""

    sign: str
    number: int | None
    html: SafeString


@dataclass(frozen=True, slots=True)
class Note:
    """What somebody says of a line of the new state, or of its file; `id` is that of its element."""

    id: str
    line: int | None
    title: str
    html: SafeString
    more: SafeString | str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """Two sides of a row; in one column just one of them, or the same on both. `head` begins a hunk.

    `notes` are what is said of the row before, in a row of their own.
    """

    old: Line | None = None
    new: Line | None = None
    head: str = ""
    notes: tuple[Note, ...] = ()

    @property
    def only(self) -> Line | None:
        """What one column shows."""
        return self.new or self.old


def rows(patch: str, path: str, redactor: Redactor, *, split: bool) -> list[Row]:
    """Every hunk with its lines; ValueError for what is no diff."""
    try:
        files = PatchSet(patch)
    except UnidiffParseError as error:
        raise ValueError(f"This diff can't be read: {error}.") from error
    found: list[Row] = []
    for file in files:
        for hunk in file:
            where = f"Lines {hunk.target_start} to {hunk.target_start + max(hunk.target_length, 1) - 1}"
            found.append(
                Row(head=f"{where}{f' · {redactor.redact_text(hunk.section_header)}' if hunk.section_header else ''}")
            )
            found += _hunk(hunk, path, redactor, split=split)
    return found


def noted(found: list[Row], notes: Iterable[Note]) -> tuple[list[Row], list[Note]]:
    """The rows with what is said of them, and what is said of lines that are not among them."""
    by_line, made = defaultdict[int | None, list[Note]](list), list[Row]()
    for note in notes:
        by_line[note.line].append(note)
    for row in found:
        made.append(row)
        if row.new and row.new.number and (said := by_line.pop(row.new.number, None)):
            made.append(Row(notes=tuple(said)))
    return made, [note for left in by_line.values() for note in left]


def tree(found: list[Change], address: str, size: int) -> SafeString:
    """Every file with a link to its page of `size` files. By hand: thousands of them take a template half a second."""
    pages = {change.key: number // size + 1 for number, change in enumerate(found)}
    branches = []
    for folder, files in reading.tree(found).items():
        leaves = format_html_join(
            "", '<li><a href="{}&amp;page={}#file-{}" data-file="{}" class="change-{}" title="{}, {}">{}</a></li>',
            ((address, pages[c.key], c.key, c.key, c.status, c.path, c.word, c.name) for c in files),
        )  # fmt: skip
        branch = format_html('<ul class="tree">{}</ul>', leaves)
        if folder:
            opened = SafeString(" open" if len(found) <= OPEN_FILES else "")
            branch = format_html("<details{}><summary>{}</summary>{}</details>", opened, folder, branch)
        branches.append(branch)
    return SafeString("".join(branches))


def _hunk(hunk: Any, path: str, redactor: Redactor, *, split: bool) -> Iterator[Row]:
    lines = [line for line in hunk if line.line_type in "+- "]
    old = _side([line for line in lines if not line.is_added], path, redactor, old=True)
    new = _side([line for line in lines if not line.is_removed], path, redactor, old=False)
    gone: list[Line] = []
    come: list[Line] = []
    for line in lines:
        if line.is_removed:
            gone.append(next(old))
        elif line.is_added:
            come.append(next(new))
        else:
            yield from _block(gone, come, split=split)
            gone, come = [], []
            yield Row(next(old), next(new))
    yield from _block(gone, come, split=split)


def _block(gone: list[Line], come: list[Line], *, split: bool) -> Iterator[Row]:
    if split:
        yield from (Row(old, new) for old, new in zip_longest(gone, come))
    else:
        yield from (Row(old=line) for line in gone)
        yield from (Row(new=line) for line in come)


def _side(lines: list[Any], path: str, redactor: Redactor, *, old: bool) -> Iterator[Line]:
    texts = [line.value.rstrip("\n").rstrip("\r") for line in lines]
    shown = redactor.redact_text("\n".join(texts)).split("\n")
    if len(shown) != len(texts):  # a secret of several lines: none of them is shown
        shown = ["[redacted]"] * len(texts)
    html = code.coloured("\n".join(shown), filename=path).split("\n")
    html = html if len(html) == len(texts) else [escape(text) for text in shown]
    for line, text in zip(lines, html, strict=True):
        number = line.source_line_no if old else line.target_line_no
        yield Line(line.line_type, number, SafeString(text))
