"""The order of steps and blocks while somebody builds a workflow: a list of marks, as the form sends it.

`step-1`, `open-2`, `step-3`, `close-2`: a step, then a block with a step inside. All functions are pure, and whatever
was sent comes out well-formed: blocks are closed, never empty and never in one another.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import count, islice, pairwise

MARK = re.compile(r"(step|open|close)-([0-9]{1,18})")
MOST = 200


def well_formed(marks: Iterable[str]) -> list[str]:
    """The same order, without what is unknown, doubled, empty or not closed."""
    found, inside = list[str](), ""
    for mark in islice(dict.fromkeys(marks), MOST):
        kind, key = parts(mark)
        if kind == "step":
            found.append(mark)
        elif kind == "open":
            found += close(inside)
            found.append(mark)
            inside = key
        elif kind == "close" and key == inside:
            found += close(inside)
            inside = ""
    found += close(inside)
    return without_empty(found)


def close(key: str) -> list[str]:
    """The end of a block, if there is one to end."""
    return [f"close-{key}"] if key else []


def without_empty(marks: list[str]) -> list[str]:
    """No block without a step."""
    empty = {parts(mark)[1] for mark, after in pairwise(marks) if ends(mark, after)}
    return [mark for mark in marks if parts(mark)[0] == "step" or parts(mark)[1] not in empty]


def ends(mark: str, after: str) -> bool:
    """Whether a block is closed right after it began."""
    return parts(mark)[0] == "open" and parts(after)[0] == "close"


def parts(mark: str) -> tuple[str, str]:
    """(kind, key); two empty texts for what is no mark."""
    found = MARK.fullmatch(mark)
    return (found[1], found[2]) if found else ("", "")


def keys(marks: Sequence[str], kind: str) -> list[str]:
    """The keys of steps, or of blocks by their `open`."""
    return [parts(mark)[1] for mark in marks if parts(mark)[0] == kind]


def block_of(marks: Sequence[str], step: str) -> str:
    """The key of the block that a step is in, empty outside of any."""
    opened = ""
    for mark in marks:
        kind, key = parts(mark)
        if mark == f"step-{step}":
            return opened
        opened = key if kind == "open" else "" if kind == "close" else opened
    return ""


def free(marks: Sequence[str]) -> str:
    """A key that nothing has yet."""
    used = {parts(mark)[1] for mark in marks}
    return next(str(number) for number in count(1) if str(number) not in used)


def add(marks: list[str], after: str) -> list[str]:
    """A new step after a mark; at the start for an unknown one."""
    place = marks.index(after) + 1 if after in marks else 0
    return [*marks[:place], f"step-{free(marks)}", *marks[place:]]


def remove(marks: list[str], mark: str) -> list[str]:
    """Without a step."""
    return [other for other in marks if other != mark]


def wrap(marks: list[str], mark: str) -> list[str]:
    """A step outside of every block in a new one of its own."""
    kind, key = parts(mark)
    if kind != "step" or mark not in marks or block_of(marks, key):
        return marks
    place, new = marks.index(mark), free(marks)
    return [*marks[:place], f"open-{new}", mark, f"close-{new}", *marks[place + 1 :]]


def unwrap(marks: list[str], mark: str) -> list[str]:
    """A block's steps without the block."""
    key = parts(mark)[1]
    return [other for other in marks if parts(other)[0] == "step" or parts(other)[1] != key]


def take_out(marks: list[str], mark: str) -> list[str]:
    """A step behind the block that it was in, or before it when it was its first of several."""
    block = block_of(marks, parts(mark)[1])
    if not block:
        return marks
    first = marks[marks.index(f"open-{block}") + 1] == mark
    rest = remove(marks, mark)
    place = rest.index(f"open-{block}") if first else rest.index(f"close-{block}") + 1
    return [*rest[:place], mark, *rest[place:]]


def up(marks: list[str], mark: str) -> list[str]:
    """A step one place up, through the edge of a block if there is one; a block before what is above it."""
    if mark not in marks:
        return marks
    start, end = span(marks, mark)
    before = start - 1
    if parts(mark)[0] == "open" and before >= 0:
        before, _ = span(marks, marks[before])
    if before < 0:
        return marks
    return [*marks[:before], *marks[start:end], *marks[before:start], *marks[end:]]


def down(marks: list[str], mark: str) -> list[str]:
    """The same, the other way: what is below goes up."""
    if mark not in marks:
        return marks
    start, end = span(marks, mark)
    if end >= len(marks):
        return marks
    _, after = span(marks, marks[end]) if parts(mark)[0] == "open" else (end, end + 1)
    return [*marks[:start], *marks[end:after], *marks[start:end], *marks[after:]]


def span(marks: list[str], mark: str) -> tuple[int, int]:
    """From where to where a mark reaches: a step is one place, either end of a block the whole block."""
    kind, key = parts(mark)
    if kind == "step":
        return marks.index(mark), marks.index(mark) + 1
    return marks.index(f"open-{key}"), marks.index(f"close-{key}") + 1


DEEDS = {"add": add, "remove": remove, "wrap": wrap, "unwrap": unwrap, "out": take_out, "up": up, "down": down}


def done(marks: list[str], deed: str) -> list[str]:
    """The order after what a button asks for, as `up:step-3`; the same for an unknown wish."""
    name, _, mark = deed.partition(":")
    return well_formed(DEEDS[name](marks, mark)) if name in DEEDS else marks
