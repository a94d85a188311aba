"""The pages of learnings: only for members, bounded, and nothing that an agent wrote is markup."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from codecourier.models import AuditEntry, Project, User
from learnings import compiling, extraction, remarks
from learnings.models import Evidence, Extraction, LearningSettings, Lesson, Version
from sandboxes.models import Sandbox, Template
from tests.conftest import signed_in
from tests.learnings.conftest import PROPOSAL, answered, choose
from tests.sandboxes.pages import make

Make = Callable[..., Lesson]
EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>"
FORM = {"trigger": "Changing a form", "behaviour": "Run the view tests.", "description": "They broke unseen.",
        "severity": "3", "category": "testing", "roles": ["designer"]}  # fmt: skip


def url(name: str, *args: object) -> str:
    return reverse(f"learnings:{name}", args=["rocket", *args])


def page(client: Client, address: str, status: int = 200) -> str:
    answer = client.get(address)
    assert answer.status_code == status, answer.content[:300]
    return answer.content.decode()


@pytest.fixture
def everything(project: Project, worked: Sandbox, lesson: Make, owner: User) -> Lesson:
    """Something on every page, hostile wherever an agent had a say; the pending lesson."""
    turn = worked.turns.first()
    row = extraction.begin(project, [worked], labels={"run_id": 3})
    known = lesson(status="approved", trigger=EVIL)
    evil = {name: f"{EVIL} {PROPOSAL[name]}" for name in ("description", "trigger", "behaviour")}
    answered(row, PROPOSAL | evil | {"evidence": [f"{turn.pk}.0"]})  # type: ignore[union-attr]
    Evidence.objects.update(excerpt=EVIL)
    Sandbox.objects.update(title=EVIL)
    found = Lesson.objects.get(extraction=row)
    assert found.similar_to == known
    compiling.compile_now(project, owner, EVIL, activate=True)
    Sandbox.objects.filter(pk=worked.pk).update(labels={"learnings": 1, "run_id": 3})
    return found


def addresses(lesson: Lesson, sandbox: Sandbox) -> list[str]:
    """Every page with something of it."""
    return [
        url("inbox"), url("library") + "?status=all", url("new"), url("lesson", lesson.pk),
        url("lesson", lesson.similar_to_id), url("versions"), url("compile"), url("version", 1), url("sessions"),
        reverse("project", args=["rocket"]), reverse("sandboxes:detail", args=["rocket", sandbox.pk]),
        reverse("sandboxes:list", args=["rocket"]),
    ]  # fmt: skip


def test_what_an_agent_wrote_is_text_on_every_page(member_client: Client, everything: Lesson, worked: Sandbox) -> None:
    for address in addresses(everything, worked):
        shown = page(member_client, address)
        assert "<script>alert" not in shown, address
        assert "<img src=x" not in shown, address


def test_a_stranger_finds_nothing(stranger_client: Client, everything: Lesson, worked: Sandbox) -> None:
    for address in addresses(everything, worked):
        page(stranger_client, address, 404)
    page(stranger_client, url("download", 1), 404)
    row, posts = Extraction.objects.get(), [url("bulk"), url("off"), url("compile"), url("activate", 1)]
    posts += [url("decide", everything.pk, "approve"), url("merge", everything.pk), url("lesson", everything.pk)]
    for address in [*posts, url("again", row.pk), url("read", worked.pk), url("new")]:
        assert stranger_client.post(address, FORM | {"verb": "approve", "lesson": everything.pk}).status_code == 404
    everything.refresh_from_db()
    assert (everything.status, Version.objects.count()) == ("pending", 1)


def test_pages_ask_the_database_as_often_for_many_as_for_one(
    member_client: Client, everything: Lesson, worked: Sandbox, lesson: Make, project: Project
) -> None:
    def asked() -> list[int]:
        counts = []
        for address in [*addresses(everything, worked), url("library"), url("inbox")]:
            with CaptureQueriesContext(connection) as queries:
                page(member_client, address)
            counts.append(len(queries))
        return counts

    before = asked()
    for number in range(12):
        lesson(status="approved", trigger=f"Case {number}")
        lesson(trigger=f"Other {number}")
        made = make(project, worked.template, "killed", labels={"learnings": 1})
        extraction.begin(project, [made], labels={})
    after = asked()
    assert [one <= two + 1 for one, two in zip(after, before, strict=True)] == [True] * len(before), (before, after)
    told = dict(zip(addresses(everything, worked), after, strict=False))
    assert {address: count for address, count in told.items() if count > 20 and "/learnings/" in address} == {}


def test_the_inbox_shows_one_and_goes_on_to_the_next(member_client: Client, lesson: Make) -> None:
    low, high, other = (lesson(severity=n, trigger=f"When {n}") for n in (1, 4, 3))
    shown = page(member_client, url("inbox"))
    assert "1 of 3" in shown
    assert f'href="?at={other.pk}"' in shown
    decided = member_client.post(url("decide", high.pk, "approve"), {"following": other.pk})
    assert decided["Location"] == f"{url('inbox')}?at={other.pk}"
    member_client.post(url("decide", other.pk, "reject"), {"following": low.pk, "why": "Wrong."})
    last = member_client.post(url("lesson", low.pk), FORM | {"following": "", "approve": "1"})
    assert last["Location"] == url("inbox")
    assert "Nothing waits" in page(member_client, url("inbox"))
    found = [(one.status, one.detail) for one in Lesson.objects.order_by("severity", "pk")]
    assert found == [("approved", ""), ("rejected", "Wrong."), ("approved", "")]


def test_an_empty_inbox_says_what_this_is(member_client: Client) -> None:
    shown = page(member_client, url("inbox"))
    assert "No lessons yet" in shown
    assert "Write a lesson" in shown


@pytest.mark.parametrize("at", ["x", "0", "9" * 30, "-1"])
def test_an_unknown_place_shows_the_first(member_client: Client, lesson: Make, at: str) -> None:
    lesson()
    assert "1 of 1" in page(member_client, f"{url('inbox')}?at={at}")


def test_a_person_writes_and_edits(member_client: Client, member: User, lesson: Make) -> None:
    known = lesson(trigger="Changing a form", behaviour="Run the view tests.", description="They broke unseen.")
    made = Lesson.objects.latest("pk") if member_client.post(url("new"), FORM).status_code == 302 else known
    assert (made.status, made.created_by, made.roles, made.similar_to) == ("approved", member, ["designer"], known)
    member_client.post(url("lesson", made.pk), FORM | {"roles": ["checker"], "trigger": " Any\n change "})
    made.refresh_from_db()
    assert (made.trigger, made.roles, made.edited_by) == ("Any change", ["checker"], member)
    assert {entry.action for entry in AuditEntry.objects.all()} == {"lesson.written", "lesson.edited"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"trigger": " "}, "This field is required"),
        ({"behaviour": "x" * 1_001}, "at most 1000 characters"),
        ({"severity": "9"}, "not one of the available choices"),
        ({"roles": ["root"]}, "not one of the available choices"),
    ],
)
def test_bad_words_are_refused_and_kept(member_client: Client, lesson: Make, change: dict[str, Any], said: str) -> None:
    for address in (url("new"), url("lesson", lesson().pk)):
        answer = member_client.post(address, FORM | {"description": "Kept."} | change)
        assert answer.status_code == 422
        assert said in answer.content.decode()
        assert "Kept." in answer.content.decode()
    assert Lesson.objects.get().trigger == PROPOSAL["trigger"]


def test_merging_by_number(member_client: Client, lesson: Make) -> None:
    into, made = lesson(), lesson()
    for bad in ("", "x", "0", "9" * 30, str(made.pk)):
        member_client.post(url("merge", made.pk), {"into": bad})
        made.refresh_from_db()
        assert made.status == "pending"
    shown = member_client.post(url("merge", made.pk), {"into": f"#{into.pk}"}, follow=True).content.decode()
    assert f"Merged into lesson {into.pk}" in shown
    assert f'<a href="{url("lesson", into.pk)}">lesson {into.pk}</a>' in shown


def test_bulk(member_client: Client, lesson: Make) -> None:
    rows = [lesson() for _ in range(3)]
    foreign = lesson(project=Project.objects.create(name="Other", slug="other"))
    chosen = [row.pk for row in rows] + [foreign.pk, "x", "9" * 40]
    answer = member_client.post(url("bulk"), {"verb": "approve", "lesson": chosen, "query": "status=pending"})
    assert answer["Location"] == f"{url('library')}?status=pending"
    foreign.refresh_from_db()
    assert (Lesson.objects.approved().count(), foreign.status) == (3, "pending")
    member_client.post(url("bulk"), {"verb": "merge", "lesson": chosen})
    assert Lesson.objects.filter(merged_into=rows[0]).count() == 2
    assert member_client.post(url("bulk"), {"verb": "drop", "lesson": chosen}).status_code == 302


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("", [2, 1]), ("status=pending", [0]), ("status=all", [2, 1, 0]), ("q=tabs", [1]), ("severity=4", [2]),
        ("category=style", [1]), ("role=checker", [2]), ("role=designer", [2, 1]), ("severity=x&role=y&page=z", [2, 1]),
        ("q=nothing", []), ("status=all&q=%00", [2, 1, 0]),
    ],
)  # fmt: skip
def test_the_library_is_narrowed_by_its_url(
    member_client: Client, lesson: Make, query: str, numbers: list[int]
) -> None:
    rows = [
        lesson(), lesson(status="approved", behaviour="Use tabs.", category="style", roles=["designer"]),
        lesson(status="approved", severity=4),
    ]  # fmt: skip
    answer = member_client.get(f"{url('library')}?{query}")
    assert [one.pk for one in answer.context["rows"]] == [rows[number].pk for number in numbers]


def test_compile_shows_what_changes_then_does_it(member_client: Client, project: Project, lesson: Make) -> None:
    assert "No lesson is approved yet" in page(member_client, url("compile"))
    lesson(status="approved", trigger="First case")
    member_client.post(url("compile"), {"activate": "1", "note": "One"})
    for number in range(30):
        lesson(status="approved", trigger=f"Case {number}", severity=1, roles=["designer"])
    choose(project, most_chars=1_500)
    shown = page(member_client, f"{url('compile')}?role=designer")
    assert "Changed since version 1" in shown
    assert '<span class="added">- **Case 0:**' in shown
    assert "They did not fit into 1,500 characters" in shown
    assert "Case 29</a>" in shown
    answer = member_client.post(url("compile"), {})
    assert answer["Location"] == url("version", 2)
    assert LearningSettings.of(project).active == Version.objects.get(number=1)
    again = member_client.post(url("compile"), {}, follow=True).content.decode()
    assert "Nothing has changed since version 2" in again
    member_client.post(url("activate", 2))
    assert "Activate instead of v2" in page(member_client, url("version", 1))
    assert member_client.get(f"{url('download', 2)}?role=designer").content.decode().count("- **Case") > 3
    member_client.post(url("off"))
    assert LearningSettings.of(project).active is None


def test_versions_and_lessons_name_each_other_and_the_sandboxes(
    member_client: Client, everything: Lesson, worked: Sandbox
) -> None:
    known = everything.similar_to
    assert known
    here = reverse("sandboxes:detail", args=["rocket", worked.pk])
    assert f'href="{here}"' in page(member_client, url("version", 1))
    assert "run 3" in page(member_client, url("version", 1))
    shown = page(member_client, url("lesson", known.pk))
    assert f'href="{url("version", 1)}"' in shown
    assert f'href="{here}"' in shown
    assert "Run 3" in page(member_client, url("lesson", everything.pk))
    mine = page(member_client, here)
    assert f'<a href="{url("version", 1)}">Version 1</a>' in mine
    assert "1 proposed" in mine


@pytest.mark.parametrize(
    ("status", "said"),
    [("waiting", "Waits to be read"), ("running", "Being read"), ("failed", "It broke"), ("", "Not")],
)
def test_a_sandbox_says_whether_it_was_read(
    member_client: Client, worked: Sandbox, project: Project, status: str, said: str
) -> None:
    if status:
        row = extraction.begin(project, [worked], labels={})
        Extraction.objects.filter(pk=row.pk).update(status=status, detail="It broke")
    assert said in page(member_client, reverse("sandboxes:detail", args=["rocket", worked.pk]))


def test_a_run_says_which_versions_it_had_and_whether_it_was_read(worked: Sandbox, project: Project) -> None:
    version, unread = remarks.of_run(project, 7, [2], over=True)
    assert (version.text, version.url) == ("Version 2", url("version", 2))
    assert (unread.text, unread.act) == ("Not read", url("read-run", 7))
    assert remarks.of_run(project, 7, [], over=False) == []
    extraction.begin(project, [worked], labels={"run_id": 7})
    assert [one.text for one in remarks.of_run(project, 7, [], over=False)] == ["Waits to be read"]


def test_a_person_has_a_run_read(member_client: Client, worked: Sandbox) -> None:
    assert "No agent has worked" in member_client.post(url("read-run", 7), follow=True).content.decode()
    Sandbox.objects.filter(pk=worked.pk).update(kind="step", labels={"run_id": 7})
    member_client.post(url("read-run", 7))
    assert Extraction.objects.get().run_id == 7


def test_a_person_has_a_sandbox_read(member_client: Client, member: User, worked: Sandbox) -> None:
    answer = member_client.post(url("read", worked.pk))
    assert answer["Location"] == reverse("sandboxes:detail", args=["rocket", worked.pk])
    row = Extraction.objects.get()
    assert (row.asked_by, row.status) == (member, "waiting")
    Extraction.objects.update(status="failed")
    member_client.post(url("again", row.pk))
    row.refresh_from_db()
    assert (row.round, row.status) == (2, "waiting")
    assert "It is being read just now" in member_client.post(url("again", row.pk), follow=True).content.decode()


def test_only_admins_set_when_work_is_read(owner: User, member: User, project: Project) -> None:
    tab = reverse("settings-tab", args=["rocket", "learnings"])
    assert signed_in(member).get(tab).status_code == 404
    client = signed_in(owner)
    choices = {"when": "always", "tokens": "50000", "threshold": "60", "most_chars": "9000"}
    assert client.post(tab, choices).status_code == 302
    assert LearningSettings.of(project).tokens == 50_000
    refused = client.post(tab, choices | {"tokens": "5"})
    assert refused.status_code == 422
    assert "Allowed is 6,000 to 200,000 tokens." in refused.content.decode()


def test_the_dashboard_says_what_waits(member_client: Client, lesson: Make) -> None:
    home = reverse("project", args=["rocket"])
    assert "Lessons to approve" not in page(member_client, home)
    lesson()
    assert "Lessons to approve" in page(member_client, home)


def test_the_admin_opens_all_of_it(everything: Lesson, template: Template) -> None:
    client = signed_in(User.objects.create_superuser("root@example.com"))
    for model in ("lesson", "version", "extraction", "learningsettings"):
        page(client, reverse(f"admin:learnings_{model}_changelist"))
    page(client, reverse("admin:learnings_lesson_change", args=[everything.pk]))
    page(client, reverse("admin:learnings_version_change", args=[Version.objects.get().pk]))
