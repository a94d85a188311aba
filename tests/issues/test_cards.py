"""Cards: made, edited, placed, closed, merged; found by words, files and number."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError

from codecourier.models import Project, User
from issues import cards
from issues.models import Issue
from issues.models.card import BAND
from sandboxes.turns import NotPossible

type Card = Callable[..., Issue]


def order() -> list[str]:
    """The titles of the board, in their order."""
    return list(Issue.objects.order_by("rank", "pk").values_list("title", flat=True))


def test_a_new_card_is_the_last_of_its_priority(card: Card):
    for title, priority in [("low", 3), ("high", 1), ("critical", 0), ("high too", 1)]:
        card(title, priority=priority)
    assert order() == ["critical", "high", "high too", "low"]


@pytest.mark.parametrize("title", ["", "  \n ", "x" * 201])
def test_a_card_needs_a_title_that_fits(card: Card, title: str):
    with pytest.raises(ValidationError) as refused:
        card(title)
    assert "title" in refused.value.message_dict


def test_what_a_run_is_asked_is_the_suggestion_or_what_the_card_says(card: Card):
    assert card("Title", description="Text").prompt == "Title\n\nText"
    assert card("Title", suggested_prompt="Do it.").prompt == "Do it."


def test_an_edit_is_in_the_history_and_found_again(card: Card, member: User):
    made = card("One")
    cards.edit(made, member, title="Two  words", files=["src/late/file.py"], priority=0)
    made.refresh_from_db()
    assert (made.title, made.priority) == ("Two words", 0)
    note = made.notes.get()
    assert (note.author, note.what) == (member, "Changed title, files, priority")
    assert Issue.objects.matching("late").get() == Issue.objects.matching("file.py").get() == made
    assert Issue.objects.matching("src/late/file.py").exists()


def test_an_edit_that_changes_nothing_leaves_no_trace(card: Card, member: User):
    made = card("One")
    cards.edit(made, member, title="One")
    assert not made.notes.exists()


@pytest.mark.parametrize(
    ("text", "found"),
    [("total", True), ("totals", True), ('"wrong total"', True), ("-total", False), ("#{pk}", True), ("nothing", False),
     ("' ; drop", False), ("\\", False), ("urgent", True)],
)  # fmt: skip
def test_cards_are_found_by_words_labels_and_number(card: Card, text: str, found: bool):
    made = card("A wrong total", labels=["urgent"])
    assert Issue.objects.matching(text.format(pk=made.pk)).exists() is found


def test_a_card_can_be_put_between_others(card: Card):
    first, second, third = (card(title) for title in ("1", "2", "3"))
    cards.place(third, first, second)
    assert order() == ["1", "3", "2"]
    cards.place(second, None, first)
    assert order() == ["2", "1", "3"]
    cards.place(second, third, None)
    assert order() == ["1", "3", "2"]


def test_there_is_always_another_place(card: Card):
    first, second = card("first"), card("second", priority=3)
    others = [card(f"{n}") for n in range(2)]
    for turn in range(140):
        cards.place(others[turn % 2], first, others[1 - turn % 2])
    titles = order()
    assert (titles[0], titles[-1]) == ("first", "second")
    second.refresh_from_db()
    assert second.rank == BAND * 3 + 1
    assert len({issue.rank for issue in Issue.objects.all()}) == 4
    assert Decimal(0) < min(issue.rank for issue in Issue.objects.all())


def test_closing_and_opening_again(card: Card, member: User):
    made = card()
    cards.close(made, member)
    with pytest.raises(NotPossible, match="is closed"):
        cards.close(made, member)
    cards.reopen(made, member)
    assert [note.what for note in made.notes.all()] == ["Closed", "Opened again"]
    assert [move.new for move in made.history] == ["new", "closed", "new"]


def test_a_card_that_somebody_changed_meanwhile_is_not_closed(card: Card, member: User):
    made = card()
    stale = Issue.objects.get(pk=made.pk)
    cards.complete(made, member)
    with pytest.raises(NotPossible, match="changed by somebody else"):
        cards.close(stale, member)
    assert Issue.objects.get(pk=made.pk).status == "completed"


def test_what_is_worked_on_stays(card: Card, member: User):
    made = card()
    made.move("running")
    for act in (cards.close, cards.reopen, cards.complete):
        with pytest.raises(NotPossible, match="Cancel its run"):
            act(made, member)


def test_a_duplicate_goes_into_the_other_one(card: Card, member: User):
    known = card("Known", files=["a.py"], priority=2)
    twin = card("Twin", files=["a.py", "b.py"], priority=0, description="More of it.")
    Issue.objects.filter(pk=twin.pk).update(duplicate_of=known, similarity=0.8)
    twin.refresh_from_db()
    assert cards.merge(twin, member) == known
    known.refresh_from_db()
    assert (known.files, known.priority) == (["a.py", "b.py"], 0)
    assert known.notes.get().body == "More of it."
    twin.refresh_from_db()
    assert (twin.status, twin.duplicate_of) == ("closed", known)
    with pytest.raises(NotPossible):
        cards.merge(twin, member)


def test_what_is_no_duplicate_comes_onto_the_board(card: Card, member: User):
    known, twin = card("Known"), card("Twin")
    Issue.objects.filter(pk=twin.pk).update(duplicate_of=known, similarity=0.8)
    twin.refresh_from_db()
    cards.keep(twin, member)
    assert Issue.objects.cards().count() == 2
    with pytest.raises(NotPossible):
        cards.keep(twin, member)


def test_a_deleted_original_frees_its_duplicates(card: Card, shop: Project):
    known, twin = card("Known"), card("Twin")
    Issue.objects.filter(pk=twin.pk).update(duplicate_of=known)
    known.delete()
    assert Issue.objects.cards().get() == twin
