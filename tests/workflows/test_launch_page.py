"""The form that starts a run, over HTTP."""

import threading
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client

from codecourier.models import Project, User
from sandboxes.models import Template
from tests.conftest import signed_in
from tests.workflows.pages import run, workflow
from workflows.models import Run, Workflow


@pytest.fixture
def loop(project: Project, template: Template) -> Workflow:
    return workflow(project)


def address(of: Workflow) -> str:
    return f"/p/rocket/workflows/{of.pk}/run/"


def filled(**changes: Any) -> dict[str, Any]:
    """What the form sends."""
    return {"prompt": "Mend the discount", "repository_url": "", "branch": "", "request_key": "k1", **changes}


def test_a_run_is_made_as_the_form_says(member_client: Client, member: User, loop: Workflow):
    image = SimpleUploadedFile("look.png", b"png")
    asked = filled(
        prompt="\r\nMend it\r\nwell\r\n", repository_url="https://github.com/acme/rocket.git", branch="main",
        checker_instructions="Run the tests", cap_usd="2.50", publish="push", cpu=4, memory_mb=2048,
        timeout_minutes=30, images=image,
    )  # fmt: skip
    answer = member_client.post(address(loop), asked)
    made = Run.objects.get()
    assert answer["Location"] == f"/p/rocket/runs/{made.pk}/"
    assert (made.prompt, made.branch, made.publish, made.created_by) == ("Mend it\nwell", "main", "push", member)
    assert (made.checker_instructions, str(made.cap_usd), made.source) == ("Run the tests", "2.50", "manual")
    step = made.manifest["steps"][0]
    assert (step["cpu"], step["memory_mb"], step["timeout_ms"]) == (4, 2048, 1_800_000)
    assert made.pictures.get().name == "look.png"


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("prompt", " \n ", "Write what the run should achieve."),
        ("repository_url", "ftp://x.example/y", "Use an https or ssh URL"),
        ("branch", "-b", "can&#x27;t be the name of a branch."),
        ("cap_usd", "-1", "Allowed is $0.01 or more."),
        ("cap_usd", "much", "Enter a number."),
        ("cpu", 9, "Allowed is 1 to 8 CPUs."),
        ("memory_mb", 1, "Allowed is 256 to 8,192 MB."),
        ("timeout_minutes", 0, "Allowed is 1 to 240 minutes."),
        ("images", SimpleUploadedFile("virus.exe", b"x"), "virus.exe is no picture."),
    ],
)
def test_what_is_wrong_is_said_at_its_field_and_what_was_typed_is_kept(
    field: str, value: Any, sentence: str, member_client: Client, loop: Workflow
):
    answer = member_client.post(address(loop), filled(checker_instructions="keep me", **{field: value}))
    page = answer.content.decode()
    assert answer.status_code == 422
    assert field in answer.context["form"].errors
    assert sentence in page
    assert "keep me" in page
    assert not Run.objects.exists()


def test_a_form_sent_twice_makes_one_run_and_changed_another(member_client: Client, loop: Workflow):
    first, second = (member_client.post(address(loop), filled()) for _ in range(2))
    assert first["Location"] == second["Location"]
    member_client.post(address(loop), filled(prompt="Something else"))
    assert Run.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_two_forms_at_the_same_moment_make_one_run(member: User, loop: Workflow):
    both, answers = threading.Barrier(2), list[str]()

    def post() -> None:
        try:
            browser = signed_in(member)
            both.wait(10)
            answers.append(browser.post(address(loop), filled())["Location"])
        finally:
            connection.close()

    threads = [threading.Thread(target=post) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(answers) == 2
    assert len(set(answers)) == Run.objects.count() == 1


def test_an_archived_workflow_is_not_run(member_client: Client, loop: Workflow):
    member_client.post(f"/p/rocket/workflows/{loop.pk}/archive/")
    answer = member_client.post(address(loop), filled())
    assert (answer.status_code, Run.objects.count()) == (422, 0)
    assert "is archived" in answer.content.decode()


def test_the_form_starts_from_the_project_or_from_an_earlier_run(
    member_client: Client, project: Project, loop: Workflow
):
    project.repository_url, project.default_branch = "https://example.com/r.git", "trunk"
    project.save()
    form = member_client.get(address(loop)).context["form"]
    assert (form["repository_url"].value(), form["branch"].value()) == ("https://example.com/r.git", "trunk")
    past = run(loop, prompt="As before", repository_url="", branch="next", cap_usd=3)
    form = member_client.get(f"{address(loop)}?from={past.pk}").context["form"]
    assert [form[name].value() for name in ("prompt", "repository_url", "branch", "cap_usd")] == [
        "As before", "", "next", 3,
    ]  # fmt: skip
    assert member_client.get(f"{address(loop)}?from=999").context["form"]["prompt"].value() is None


def test_history_tells_what_to_expect_or_that_there_is_none(member_client: Client, loop: Workflow):
    assert "No history" in member_client.get(address(loop)).content.decode()
    for _ in range(3):
        run(loop)
    run(loop, "failed")
    estimate = member_client.get(address(loop)).context["estimate"]
    assert (estimate.count, round(estimate.took.total_seconds()), estimate.usd) == (3, 60, None)


def test_a_stranger_finds_nothing(stranger_client: Client, loop: Workflow):
    assert stranger_client.get(address(loop)).status_code == 404
    assert stranger_client.post(address(loop), filled()).status_code == 404
