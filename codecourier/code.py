"""Code and terminal output as safe HTML: colours as classes (static/css/code.css), no markup from outside."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name, get_lexer_for_filename
from pygments.util import ClassNotFound

# Lexers are regular expressions: what is long, or has long lines, is shown without colours.
COLOURED_CHARS, COLOURED_LINE = 20_000, 1_000
# Comparing costs up to the product of both numbers of lines.
COMPARED_LINES = 300
CONTEXT_LINES = 3
FORMATTER = HtmlFormatter[str](nowrap=True)
# Sequences of ECMA-48 (colours, cursor, titles, clipboard) and lone control characters; tabs and line ends stay.
CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]?|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)


def plain(text: str) -> str:
    """Terminal output as a reader would have seen it: no control sequences, overwritten lines in their last state."""
    lines = text.replace("\r\n", "\n").split("\n")
    return "\n".join(CONTROL.sub("", line.rstrip("\r").rpartition("\r")[2]) for line in lines)


def coloured(text: str, language: str = "", filename: str = "") -> SafeString:
    """Code with its words in classes of pygments; only escaped where it is too long or of no known language."""
    lexer = _lexer(language, filename)
    if lexer is None or len(text) > COLOURED_CHARS or max(map(len, text.split("\n"))) > COLOURED_LINE:
        return escape(text)
    # The formatter escapes what it is given, and ends the last line.
    return mark_safe(highlight(text, lexer, FORMATTER).removesuffix("\n"))  # noqa: S308


@lru_cache(maxsize=256)
def _lexer(language: str, filename: str) -> Lexer | None:
    try:
        if language:
            return get_lexer_by_name(language, stripnl=False, ensurenl=False)
        return get_lexer_for_filename(filename, stripnl=False, ensurenl=False) if filename else None
    except ClassNotFound:
        return None


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a diff: `sign` is "+", "-", " " or "@" for lines left out."""

    sign: str
    html: SafeString


def compared(old: str, new: str, filename: str = "") -> list[Row]:
    """A small diff between two texts, coloured as the file would be."""
    before, after = old.splitlines(), new.splitlines()
    if len(before) > COMPARED_LINES or len(after) > COMPARED_LINES:
        groups = [[("replace", 0, len(before), 0, len(after))]]
    else:
        groups = [*SequenceMatcher(None, before, after, autojunk=False).get_grouped_opcodes(CONTEXT_LINES)]
    return list(_rows(groups, _lines(old, filename), _lines(new, filename)))


def _rows(
    groups: list[list[tuple[str, int, int, int, int]]], before: list[SafeString], after: list[SafeString]
) -> Iterator[Row]:
    for number, group in enumerate(groups):
        if number:
            yield Row("@", escape("⋯"))
        for tag, start, end, new_start, new_end in group:
            if tag == "equal":
                yield from (Row(" ", line) for line in after[new_start:new_end])
                continue
            yield from (Row("-", line) for line in before[start:end])
            yield from (Row("+", line) for line in after[new_start:new_end])


def _lines(text: str, filename: str) -> list[SafeString]:
    """Each line by itself, as colours that span lines would have to be closed and opened again."""
    return [coloured(line, filename=filename) for line in text.splitlines()]


def changed(old: str, new: str) -> tuple[int, int]:
    """(lines added, lines removed), without what is the same at both ends."""
    before, after = old.splitlines(), new.splitlines()
    same = _same(before, after)
    same += _same(before[same:][::-1], after[same:][::-1])
    return len(after) - same, len(before) - same


def _same(before: list[str], after: list[str]) -> int:
    """How many lines at the beginning are equal."""
    return next(
        (at for at, (old, new) in enumerate(zip(before, after, strict=False)) if old != new),
        min(len(before), len(after)),
    )


def patched(text: str) -> list[Row]:
    """The rows of something that is a patch already."""
    return [_patched(line) for line in text.splitlines()]


def _patched(line: str) -> Row:
    if line.startswith(("+++", "---", "@@", "***", "diff ", "index ")):
        return Row("@", escape(line))
    sign = line[:1] if line[:1] in "+-" and line else " "
    return Row(sign, escape(line[1:] if line[:1] in "+- " else line))
