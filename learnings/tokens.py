"""How many tokens a text has, counted on the safe side: models count differently, and none of their tables is here.

A word of up to three letters counts one, longer ones one for each three letters begun; digits and signs count one
each, and so does each byte of other scripts. English text comes out about half as long again as models count it.
"""

import re

PIECE = re.compile(r"([A-Z]?[a-z]+|[A-Z]+)|( +)|([^\x00-\x7f]+)|(.|\n)", re.DOTALL)
LETTERS, SPACES = 3, 8


def count(text: str) -> int:
    """At least so many as it has."""
    total = 0
    for letters, spaces, foreign, _ in PIECE.findall(text):
        if letters:
            total += -(-len(letters) // LETTERS)
        elif spaces:
            # A single one belongs to the word behind it.
            total += (len(spaces) + SPACES - 2) // SPACES
        else:
            total += len(foreign.encode(errors="replace")) or 1
    return total


def cut(text: str, most: int) -> str:
    """The beginning of a text that has at most so many."""
    if count(text) <= most:
        return text
    low, high = 0, min(len(text), LETTERS * max(most, 0) * SPACES)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if count(text[:middle]) <= most else (low, middle - 1)
    return text[:low]
