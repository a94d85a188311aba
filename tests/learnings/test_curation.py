"""What people decide about lessons."""

from collections.abc import Callable

import pytest

from codecourier.models import AuditEntry, Project, User
from learnings import curation
from learnings.models import Evidence, Lesson
from sandboxes.turns import NotPossible

Make = Callable[..., Lesson]


@pytest.mark.parametrize(
    ("before", "verb", "after"),
    [
        ("pending", "approve", "approved"),
        ("pending", "reject", "rejected"),
        ("approved", "reject", "rejected"),
        ("approved", "reopen", "pending"),
        ("rejected", "approve", "approved"),
        ("rejected", "reopen", "pending"),
    ],
)
def test_a_decision_is_kept_with_who_and_why(lesson: Make, owner: User, before: str, verb: str, after: str) -> None:
    made = lesson(status=before)
    curation.decide(made, owner, verb, " Because. ")
    curation.decide(made, owner, verb)
    made.refresh_from_db()
    assert (made.status, made.decided_by, made.detail) == (after, owner, "Because.")
    assert [entry.action for entry in AuditEntry.objects.all()] == [f"lesson.{after}"]


def test_a_merged_lesson_can_not_be_decided(lesson: Make, owner: User) -> None:
    into, made = lesson(), lesson()
    curation.merge(made, into, owner)
    with pytest.raises(NotPossible, match="is merged"):
        curation.decide(made, owner, "approve")
    with pytest.raises(NotPossible, match=f"part of lesson {into.pk}"):
        curation.edit(made, owner, ["trigger"])


def test_merging_keeps_the_words_and_joins_the_rest(lesson: Make, owner: User) -> None:
    into = lesson(status="approved", severity=2, roles=["designer"], behaviour="Do this.")
    first, second = lesson(severity=4, roles=["checker"], similar_to=into, similarity=0.9), lesson(roles=["designer"])
    Evidence.objects.create(lesson=first, turn=1, kind="message", excerpt="one")
    curation.merge(second, first, owner)
    curation.merge(first, into, owner)
    into.refresh_from_db()
    assert (into.behaviour, into.severity, into.roles) == ("Do this.", 4, ["checker", "designer"])
    assert set(into.merged.all()) == {first, second}
    assert [one.excerpt for one in into.evidence] == ["one"]


def test_a_lesson_for_all_makes_the_other_one_for_all(lesson: Make, owner: User) -> None:
    into = lesson(roles=["designer"])
    curation.merge(lesson(roles=[]), into, owner)
    assert into.roles == []


def test_what_was_like_the_merged_one_is_like_the_other_one(lesson: Make, owner: User) -> None:
    into, made = lesson(), lesson()
    third = lesson(similar_to=made, similarity=0.7)
    Lesson.objects.filter(pk=into.pk).update(similar_to=made, similarity=0.7)
    curation.merge(made, into, owner)
    third.refresh_from_db()
    into.refresh_from_db()
    assert (third.similar_to, into.similar_to, into.similarity) == (into, None, None)


def test_what_can_not_be_merged(lesson: Make, owner: User) -> None:
    made = lesson()
    other = lesson(project=Project.objects.create(name="Other", slug="other"))
    for into in (made, other):
        with pytest.raises(NotPossible, match="another lesson of the project"):
            curation.merge(made, into, owner)
    with pytest.raises(NotPossible, match="reopen it first"):
        curation.merge(lesson(status="rejected"), made, owner)
    with pytest.raises(NotPossible, match="at least two"):
        curation.merge_all([made, lesson(status="rejected")], owner)


def test_many_are_merged_into_the_one_that_is_approved(lesson: Make, owner: User) -> None:
    first, approved, last = lesson(), lesson(status="approved"), lesson()
    assert curation.merge_all([first, approved, last], owner) == approved
    assert set(approved.merged.all()) == {first, last}


def test_many_are_decided_at_once(lesson: Make, project: Project, owner: User) -> None:
    rows = [lesson(), lesson(status="rejected"), lesson(status="approved")]
    assert curation.bulk(project, owner, "approve", rows) == 2
    assert Lesson.objects.approved().count() == 3


def test_words_are_found_wherever_they_are(lesson: Make, project: Project) -> None:
    made = lesson(trigger="100% of _baskets_ change")
    lesson()
    found = Lesson.objects.filter(project=project)
    assert [*found.holding("unittest 100% _BASKETS_")] == [made]
    assert [*found.holding(f"#{made.pk}")] == [made]
    assert not found.holding("100%x")
    assert found.holding("  ").count() == 2


def test_figures(lesson: Make, project: Project) -> None:
    for status in ("pending", "approved", "approved", "rejected"):
        lesson(status=status)
    found = curation.figures(project)
    assert {value: count for value, _, count in found["statuses"]} == {
        "pending": 1, "approved": 2, "rejected": 1, "merged": 0,
    }  # fmt: skip
    assert (found["share"], found["severities"], found["total"]) == (67, [(3, "High", 2)], 4)
