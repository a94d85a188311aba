"""Tokens are counted on the safe side."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learnings.tokens import count, cut


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("The quick brown fox", 6),
        ("totalPrice += 100", 9),
        ("HTTPServer", 4),
        ("Grüße", 6),
        ("日本", 6),
        ("🙂", 4),
        ("\n\n", 2),
        (" " * 100, 13),
        ("\ud800", 1),
    ],
)
def test_words_count_by_three_letters_signs_one_each_and_other_scripts_by_byte(text: str, tokens: int) -> None:
    assert count(text) == tokens


@given(st.text(), st.text(), st.integers(0, 40))
def test_a_cut_text_has_at_most_so_many_and_parts_never_have_more_together(one: str, other: str, most: int) -> None:
    assert count(cut(one, most)) <= most
    assert one.startswith(cut(one, most))
    assert count(f"{one}\n{other}") <= count(one) + 1 + count(other)
