"""Workflows over HTTP: the list, the page of one, and the builder as it works without scripts."""

import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from codecourier.models import AuditEntry, Project, User
from personas.models import Persona
from tests.workflows.pages import persona, run, workflow
from workflows.models import Step, Workflow

LIST = "/p/rocket/workflows/"
NEW = f"{LIST}new/"


@pytest.fixture
def designer(project: Project) -> Persona:
    return persona(project)


@pytest.fixture
def checker(project: Project) -> Persona:
    return persona(project, "checker")


def sent(order: str, people: dict[str, Persona], **changes: Any) -> dict[str, Any]:
    """What the form sends: `order` like "1(23)", `people` by step."""
    marks, opened = list[str](), ""
    for place, letter in enumerate(order, 80):
        opened = str(place) if letter == "(" else opened
        marks.append({"(": f"open-{opened}", ")": f"close-{opened}"}.get(letter, f"step-{letter}"))
    head = {"head-name": "Mine", "head-publish": "request", "head-evaluate": "never", "head-keep_unapproved": "on"}
    steps = {f"step-{key}-persona": who.pk for key, who in people.items()}
    blocks = {f"{mark}-loop_max_iterations": 4 for mark in marks if mark.startswith("open")}
    return {**head, **steps, **blocks, "order": marks, **changes}


def told(made: Workflow) -> list[tuple[str, int]]:
    """Who works, and how often at most: 0 outside of every block."""
    steps = made.steps.select_related("persona", "block")
    return [(step.persona.role, step.block.loop_max_iterations if step.block else 0) for step in steps]


def test_a_workflow_is_built_in_one_go(member_client: Client, member: User, designer: Persona, checker: Persona):
    step = {"step-2-name": "Review", "step-2-instructions": "pytest\r\n", "step-2-cpu": 4, "step-2-timeout_minutes": 30}
    asked = sent("(12)3", {"1": designer, "2": checker, "3": designer}, **step)
    answer = member_client.post(NEW, asked)
    made = Workflow.objects.get()
    assert answer["Location"] == f"{LIST}{made.pk}/"
    assert (made.name, made.created_by, told(made)) == (
        "Mine", member, [("designer", 4), ("checker", 4), ("designer", 0)],
    )  # fmt: skip
    review = made.steps.all()[1]
    assert (str(review), review.instructions, review.cpu, review.timeout_ms) == ("Review", "pytest", 4, 1_800_000)
    assert AuditEntry.objects.get().action == "workflow.created"


def test_candidates_and_their_judge_are_kept(member_client: Client, project: Project, designer: Persona):
    other, judge = persona(project, "optimizer"), persona(project, "judge")
    best = {
        "step-1-candidate_1": designer.pk, "step-1-candidate_3": other.pk, "step-1-candidate_5": designer.pk,
        "step-1-judge": judge.pk, "step-1-test_script": "make test",
    }  # fmt: skip
    member_client.post(NEW, sent("1", {"1": designer}, **best))
    step = Step.objects.get()
    assert (step.candidates, step.judge, step.test_script) == ([designer.pk, other.pk, designer.pk], judge, "make test")
    form = member_client.get(f"{LIST}{step.workflow_id}/edit/").context["draft"].steps[str(step.pk)]
    assert (form.several, form.differs) == (3, True)


def test_the_model_goes_where_the_role_looks_for_it(member_client: Client, project: Project, designer: Persona):
    checker = persona(project, "checker", tool="codex", name="Codex")
    models = {"step-1-model": "one", "step-2-model": "two"}
    member_client.post(NEW, sent("(12)", {"1": designer, "2": checker}, **models))
    found = [(step.designer_model, step.checker_model) for step in Step.objects.order_by("position")]
    assert found == [("one", ""), ("", "two")]


@pytest.mark.parametrize(
    ("order", "changes", "sentence"),
    [
        ("", {}, "A workflow needs at least one step."),
        ("1", {"head-name": ""}, "Give it a name."),
        ("(1)2", {}, "needs a checker: without a verdict nothing ends it."),
        ("1", {"step-1-persona": 0}, "Choose a persona of this project."),
        ("(12)", {"open-80-loop_max_iterations": 11}, "Allowed is 1 to 10 iterations."),
        ("1", {"step-1-cpu": 9}, "Allowed is 1 to 8 CPUs."),
        ("1", {"step-1-timeout_minutes": 999}, "Allowed is 1 to 240 minutes."),
        ("1", {"head-memory_mb": "much"}, "Enter a whole number."),
        ("1", {"step-1-candidate_1": "own"}, "allowed are 2 to 5 candidates, or none."),
        ("2", {"step-2-candidate_1": "own", "step-2-candidate_2": "own"}, "can have candidates"),
    ],
)
def test_what_could_not_run_is_said_and_nothing_is_lost(
    order: str, changes: dict[str, Any], sentence: str, member_client: Client, designer: Persona, checker: Persona
):
    own = {name: designer.pk if value == "own" else value for name, value in changes.items()}
    people = {"1": designer, "2": checker}
    kept = {"head-description": "Keep me", "step-1-instructions": "and me", "step-2-name": "and me, too"}
    answer = member_client.post(NEW, sent(order, people, **kept, **own))
    page = answer.content.decode()
    assert answer.status_code == 422
    assert sentence in page
    assert "Keep me" in page
    assert ("and me" in page) == bool(order)
    assert not Workflow.objects.exists()


def test_a_step_of_a_script_without_a_script_is_refused(member_client: Client, project: Project):
    empty = persona(project, "custom", instructions="")
    answer = member_client.post(NEW, sent("1", {"1": empty}))
    assert "Step 1, Custom: write the script that it runs." in answer.content.decode()
    assert member_client.post(NEW, sent("1", {"1": empty}, **{"step-1-instructions": "true"})).status_code == 302


def arranged(client: Client, deed: str, order: str, people: dict[str, Persona], **changes: Any) -> Any:
    """The draft that a button gives back."""
    answer = client.post(NEW, sent(order, people, do=deed, **changes))
    assert answer.status_code == 200
    assert not Workflow.objects.exists()
    return answer.context["draft"]


def test_buttons_arrange_and_store_nothing(member_client: Client, designer: Persona, checker: Persona):
    people = {"1": designer, "2": checker}
    made = arranged(member_client, "wrap:step-1", "12", people, **{"step-1-name": "Kept"})
    assert made.marks == ["open-3", "step-1", "close-3", "step-2"]
    assert (made.steps["1"]["name"].value(), made.blocks["3"]["loop_max_iterations"].value()) == ("Kept", 3)
    made = arranged(member_client, "up:step-2", "(1)2", people)
    assert made.marks == ["open-80", "step-1", "step-2", "close-80"]
    made = arranged(member_client, "add:step-1", "1", people)
    assert made.steps["2"].who == checker
    made = arranged(member_client, "remove:step-1", "12", people)
    assert made.marks == ["step-2"]


def test_a_box_that_was_unticked_stays_so(member_client: Client, designer: Persona):
    asked = sent("1", {"1": designer}, do="add:")
    del asked["head-keep_unapproved"]
    page = member_client.post(NEW, asked).content.decode()
    box = re.search(r'<input type="checkbox" name="head-keep_unapproved"[^>]*>', page)
    assert box
    assert "checked" not in box[0]


def test_scripts_get_the_steps_alone(member_client: Client, designer: Persona):
    answer = member_client.post(NEW, sent("1", {"1": designer}, do="add:"), headers={"HX-Request": "true"})
    page = answer.content.decode()
    assert page.lstrip().startswith('<div id="steps">')
    assert page.count('class="step"') == 2


def test_editing_replaces_all_of_it_at_once(member_client: Client, project: Project, designer: Persona):
    made = workflow(project)
    page = member_client.get(f"{LIST}{made.pk}/edit/")
    draft = page.context["draft"]
    assert [mark.partition("-")[0] for mark in draft.marks] == ["open", "step", "step", "close"]
    assert draft.head["name"].value() == "Loop"
    seen = draft.head["seen"].value()
    asked = sent("1", {"1": designer}, **{"head-name": "Loop", "head-seen": seen})
    assert member_client.post(f"{LIST}{made.pk}/edit/", asked).status_code == 302
    assert (told(made), made.blocks.count()) == ([("designer", 0)], 0)


def test_two_people_who_edit_one_workflow_are_told(member_client: Client, project: Project, designer: Persona):
    made = workflow(project)
    address = f"{LIST}{made.pk}/edit/"
    seen = member_client.get(address).context["draft"].head["seen"].value()
    asked = sent("1", {"1": designer}, **{"head-seen": seen})
    member_client.post(address, asked)
    answer = member_client.post(address, {**asked, "head-name": "Theirs"})
    assert answer.status_code == 422
    assert "Somebody saved this workflow meanwhile." in answer.content.decode()
    seen = answer.context["draft"].head["seen"].value()
    assert member_client.post(address, {**asked, "head-name": "Theirs", "head-seen": seen}).status_code == 302
    made.refresh_from_db()
    assert made.name == "Theirs"


def test_a_name_is_given_once(member_client: Client, project: Project, designer: Persona):
    workflow(project, "Mine")
    answer = member_client.post(NEW, sent("1", {"1": designer}))
    assert answer.status_code == 422
    assert "There is a workflow of this name already." in answer.content.decode()


def test_copies_and_archives(member_client: Client, project: Project):
    made = workflow(project)
    answer = member_client.post(f"{LIST}{made.pk}/duplicate/", follow=True)
    copy = Workflow.objects.exclude(pk=made.pk).get()
    assert answer.redirect_chain[-1][0] == f"{LIST}{copy.pk}/"
    assert (copy.name, told(copy)) == ("Loop 2", told(made))
    assert not set(copy.blocks.all()) & set(made.blocks.all())
    member_client.post(f"{LIST}{made.pk}/archive/")
    assert [str(row) for row in member_client.get(LIST).context["rows"]] == ["Loop 2"]
    assert [str(row) for row in member_client.get(f"{LIST}?archived").context["rows"]] == ["Loop"]
    Workflow.objects.filter(pk=copy.pk).update(name="Loop")
    answer = member_client.post(f"{LIST}{made.pk}/archive/", follow=True)
    assert "There is another workflow named Loop." in answer.content.decode()
    Workflow.objects.filter(pk=copy.pk).update(archived_at=timezone.now())
    member_client.post(f"{LIST}{made.pk}/archive/")
    made.refresh_from_db()
    assert made.archived_at is None


def test_the_list_tells_how_runs_went(member_client: Client, project: Project):
    made = workflow(project)
    for status in ("completed", "completed", "failed", "cancelled", "running"):
        last = run(made, status)
    row = member_client.get(LIST).context["rows"][0]
    assert row.told == {"total": 5, "active": 1, "over": 3, "completed": 2, "rate": 67, "last": last}
    assert [str(row) for row in member_client.get(f"{LIST}?q=loo").context["rows"]] == ["Loop"]
    assert "No workflow matches" in member_client.get(f"{LIST}?q=zzz").content.decode()


def test_an_archived_persona_stays_with_its_step(member_client: Client, project: Project):
    made = workflow(project)
    Persona.objects.filter(project=project, role="checker").update(archived_at=timezone.now())
    page = member_client.get(f"{LIST}{made.pk}/edit/").content.decode()
    assert "Checker (archived)" in page
    assert "This persona is archived." in page


@pytest.mark.parametrize("path", ["", "{pk}/", "{pk}/edit/", "new/"])
def test_queries_do_not_grow(path: str, member_client: Client, member: User, project: Project):
    made = workflow(project)
    run(made, created_by=member)

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            member_client.get(f"{LIST}{path.format(pk=made.pk)}")
        return len(captured)

    few = queries()
    for number in range(6):
        run(workflow(project, f"More {number}"), created_by=member)
        run(made, created_by=member)
        persona(project, "designer", name=f"More {number}")
        Step.objects.create(workflow=made, position=5 + number, persona=persona(project))
    assert queries() == few <= 20


def test_a_stranger_finds_nothing(stranger_client: Client, project: Project):
    made = workflow(project)
    for page in ("", "new/", f"{made.pk}/", f"{made.pk}/edit/"):
        assert stranger_client.get(f"{LIST}{page}").status_code == 404
    for page in ("new/", f"{made.pk}/edit/", f"{made.pk}/duplicate/", f"{made.pk}/archive/"):
        assert stranger_client.post(f"{LIST}{page}").status_code == 404
    assert Workflow.objects.kept().count() == 1
