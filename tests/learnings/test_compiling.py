"""From approved lessons to what machines are told."""

from collections.abc import Callable

import pytest
from django.db import IntegrityError, connection, transaction

from codecourier.models import AuditEntry, Project, User
from learnings import compiling
from learnings.models import LearningSettings, Lesson, Version
from personas.briefing import brief
from personas.models import Persona
from sandboxes import fleet
from sandboxes.models import Template
from sandboxes.turns import NotPossible
from tests.learnings.conftest import choose

Make = Callable[..., Lesson]


@pytest.fixture
def lessons(lesson: Make) -> None:
    """For everybody, for one role, and two that reach nobody."""
    lesson(status="approved", trigger="Changing the shop", behaviour="Run the tests.", severity=2)
    lesson(status="approved", trigger="Writing code", behaviour="Use tabs.", roles=["designer"], category="style")
    lesson(status="pending", behaviour="Not decided yet.")
    lesson(status="rejected", behaviour="Nonsense.")


def test_a_document_for_each_role_and_one_for_all(project: Project, lessons: None) -> None:
    texts = compiling.draft(project).texts
    assert set(texts) == {"", "designer"}
    assert texts[""] == (
        "What earlier work on this project taught. Follow what applies to your task.\n\n## Tests\n\n"
        "- **Changing the shop:** Run the tests. *(The tests were not run, so a broken basket was pushed.)*\n"
    )
    assert "## Style\n\n- **Writing code:** Use tabs." in texts["designer"]
    assert "Run the tests." in texts["designer"]


def test_the_gravest_come_first_and_what_does_not_fit_is_said(project: Project, lesson: Make) -> None:
    for number in range(40):
        lesson(status="approved", trigger=f"Case {number}", severity=1 + number % 4)
    choose(project, most_chars=2_000)
    document = compiling.draft(project).documents[""]
    assert len(document.text) <= 2_000
    assert {one.severity for one in document.lessons} == {4, 3}
    assert len(document.lessons) + len(document.left_out) == 40
    assert document.text.endswith(
        f"\n{len(document.left_out)} less severe lessons are left out here to keep this short.\n"
    )
    assert "**Critical.** **Case 3:**" in document.text
    version = compiling.compile_now(project, None)
    assert version.left_out == {"": [one.pk for one in document.left_out]}


def test_what_was_seen_more_often_goes_before(project: Project, lesson: Make) -> None:
    lesson(status="approved", trigger="Once")
    often = lesson(status="approved", trigger="Often")
    lesson(status="merged", merged_into=often)
    assert [one.trigger for one in compiling.draft(project).documents[""].lessons] == ["Often", "Once"]


def test_words_can_not_leave_their_line(project: Project, lesson: Make) -> None:
    lesson(status="approved", behaviour="Do this.\n\n# Obey\n- and that", trigger="a\r\nb")
    lines = compiling.draft(project).documents[""].text.split("\n")
    assert len([line for line in lines if line.startswith(("#", "-"))]) == 2


def test_versions_count_up_and_the_same_one_is_not_made_twice(project: Project, lesson: Make, owner: User) -> None:
    with pytest.raises(NotPossible, match="No lesson is approved"):
        compiling.compile_now(project, owner)
    made = lesson(status="approved")
    first = compiling.compile_now(project, owner, " First ")
    assert (first.number, first.note, list(first.lessons.all())) == (1, "First", [made])
    with pytest.raises(NotPossible, match="Nothing has changed since version 1"):
        compiling.compile_now(project, owner)
    lesson(status="approved", trigger="More")
    assert compiling.compile_now(project, owner).number == 2
    assert LearningSettings.of(project).active is None


def test_only_the_active_version_reaches_machines_and_an_older_one_can_be_active_again(
    project: Project, lessons: None, lesson: Make, owner: User
) -> None:
    designer = Persona.objects.create(project=project, name="Ann", role="designer")
    checker = Persona.objects.create(project=project, name="Chris", role="checker")
    first = compiling.compile_now(project, owner)
    assert "Learnings" not in brief(project, designer).contexts
    compiling.switch(project, owner, first)
    lesson(status="approved", trigger="Much later", category="other")
    assert "Use tabs." in brief(project, designer).contexts["Learnings"]
    for told in (brief(project, checker), brief(project)):
        assert "Run the tests." in told.document
        assert "Use tabs." not in told.document
        assert "Not decided yet." not in told.document
    second = compiling.compile_now(project, owner, activate=True)
    assert (brief(project).learnings, "Much later" in brief(project).document) == (2, True)
    compiling.switch(project, owner, first)
    assert (brief(project).learnings, "Much later" in brief(project).document) == (1, False)
    compiling.switch(project, owner, None)
    assert brief(project).learnings == 0
    assert Version.objects.count() == second.number == 2
    actions = list(AuditEntry.objects.order_by("pk").values_list("action", "data__version"))
    assert [number for action, number in actions if action == "learnings.activated"] == [1, 2, 1, 0]


def test_another_project_is_told_nothing(project: Project, lessons: None, owner: User) -> None:
    other = Project.objects.create(name="Other", slug="other")
    version = compiling.compile_now(project, owner, activate=True)
    assert brief(other).learnings == 0
    with pytest.raises(NotPossible):
        compiling.switch(other, owner, version)


def test_a_sandbox_says_which_version_it_was_told(
    project: Project, lessons: None, owner: User, template: Template
) -> None:
    compiling.compile_now(project, owner, activate=True)
    sandbox = fleet.launch(project, owner, template=template, prompt="true")
    assert sandbox.labels == {"learnings": 1}
    assert [one["version"] for one in sandbox.briefing["sources"] if one["kind"] == "Learnings"] == [1]


def test_a_version_never_changes(project: Project, lessons: None) -> None:
    version = compiling.compile_now(project, None)
    for change in (lambda: Version.objects.update(documents={}), lambda: Version.objects.all().delete()):
        with transaction.atomic():
            change()
            with pytest.raises(IntegrityError, match="never changes"):
                check_now()
            transaction.set_rollback(True)
    assert Version.objects.get() == version
    project.delete()
    check_now()
    assert not Version.objects.exists()


def check_now() -> None:
    """What is checked at the end of a transaction."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")
