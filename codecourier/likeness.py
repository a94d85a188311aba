"""How alike texts are, judged in the database: the share of trigrams that two have in common, as pg_trgm counts it.

The functions are our own (migration 0007): the embedded server's wheel comes without that extension. The set of a
column's trigrams may be stored, as a GeneratedField, where many rows are compared.
"""

from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db.models import FloatField, Func, TextField, Value


class Trigrams(Func):
    """The distinct trigrams of a text's words, whatever their case."""

    function = "courier_trigrams"
    arity = 1

    def __init__(self, said: Any) -> None:
        super().__init__(said, output_field=ArrayField(TextField()))


class Likeness(Func):
    """From 0, nothing in common, to 1, the same words; of two expressions that are trigrams."""

    function = "courier_likeness"
    arity = 2

    def __init__(self, one: Any, other: Any) -> None:
        super().__init__(one, other, output_field=FloatField())


def likeness(said: Any, text: str) -> Likeness:
    """Of an expression that is a text and a text that is known."""
    return Likeness(Trigrams(said), Trigrams(Value(text, output_field=TextField())))
