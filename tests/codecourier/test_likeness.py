"""How alike texts are, counted as pg_trgm counts it."""

import pytest
from django.db.models import F, TextField, Value

from codecourier.likeness import Trigrams, likeness
from codecourier.models import Project


def alike(one: str, other: str) -> float:
    Project.objects.update_or_create(slug="only", defaults={"name": "Only", "instructions": one})
    return float(Project.objects.annotate(alike=likeness(F("instructions"), other)).get().alike)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        # As `SELECT similarity(one, other)` of pg_trgm 1.6 answers.
        ("word", "two words", 0.363636),
        ("Run the tests before a commit.", "run the TESTS, before a commit", 1.0),
        ("cat", "dog", 0.0),
        ("", "", 0.0),
        ("", "a text", 0.0),
        ("%_\\ '--", "%_\\ '--", 0.0),
        ("Straße über", "straße UBER", 0.6),
        ("self.assertEqual(a_b, 3)", "assert a_b == 3", 0.478261),
    ],
)
def test_texts_are_as_alike_as_their_trigrams(db: None, one: str, other: str, expected: float) -> None:
    assert alike(one, other) == pytest.approx(expected, abs=1e-4)


def test_the_trigrams_of_a_word_begin_before_it_and_end_after_it(project: Project) -> None:
    said = Value("Cat cat!", output_field=TextField())
    found = Project.objects.annotate(of=Trigrams(said)).values_list("of", flat=True).get()
    assert sorted(found) == ["  c", " ca", "at ", "cat"]
