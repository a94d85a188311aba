"""The form of a new sandbox over HTTP."""

import threading
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import Client

from codecourier.models import Project, User
from sandboxes import fleet
from sandboxes import stock as offered
from sandboxes.agents import AGENTS
from sandboxes.models import Sandbox, Template
from tests.conftest import signed_in
from tests.sandboxes.pages import make
from usage import stock

NEW = "/p/rocket/sandboxes/new/"


def filled(of: Template, /, **changes: Any) -> dict[str, Any]:
    """What the form sends with its defaults."""
    fields = {"template": of.pk, "prompt": "echo hello", "cpu": 2, "memory_mb": 1024, "timeout_minutes": 60}
    return {**fields, "idle_minutes": 15, "request_key": "k1", **changes}


def test_a_sandbox_is_made_as_the_form_says(member_client: Client, member: User, template: Template):
    asked = filled(
        template,
        prompt="\r\npytest -x\r\nruff check\r\n",
        cpu=4,
        memory_mb=2048,
        timeout_minutes=90,
        idle_minutes=5,
        repository_url="https://github.com/acme/rocket.git",
        branch="main",
        depth=1,
        setup_script="make\r\n",
        effort="high",
        designer_model="any-model",
    )
    answer = member_client.post(NEW, asked)
    made = Sandbox.objects.get()
    assert answer["Location"] == f"/p/rocket/sandboxes/{made.pk}/"
    assert (made.cpu, made.memory_mb, made.timeout_ms, made.idle_seconds) == (4, 2048, 5_400_000, 300)
    assert (made.branch, made.depth, made.setup_script, made.effort) == ("main", 1, "make", "high")
    assert (made.title, made.created_by, made.status) == ("pytest -x", member, "creating")
    assert made.turns.get().prompt == "pytest -x\nruff check"


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("timeout_minutes", 0, "Allowed is 1 to 240 minutes (60,000 to 14,400,000 ms)."),
        ("timeout_minutes", 241, "Allowed is 1 to 240 minutes (60,000 to 14,400,000 ms)."),
        ("timeout_minutes", "soon", "Enter a whole number."),
        ("memory_mb", 255, "Allowed is 256 to 8,192 MB."),
        ("memory_mb", 8193, "Allowed is 256 to 8,192 MB."),
        ("cpu", 9, "Allowed is 1 to 8 CPUs."),
        ("idle_minutes", 0, "Allowed is 1 to 1,440 minutes."),
        ("repository_url", "--upload-pack=x", "A repository URL can&#x27;t start with a dash."),
        ("repository_url", "ftp://x.example/y", "Use an https or ssh URL"),
        ("branch", "-b", "can&#x27;t be the name of a branch."),
        ("template", 0, "Select a valid choice."),
        ("depth", 0, "Ensure this value is greater than or equal to 1."),
    ],
)
def test_what_is_wrong_is_said_at_its_field_and_what_was_typed_is_kept(
    field: str, value: Any, sentence: str, member_client: Client, template: Template
):
    answer = member_client.post(NEW, filled(template, prompt="keep me", **{field: value}))
    page = answer.content.decode()
    assert answer.status_code == 422
    assert field in answer.context["form"].errors
    assert sentence in page
    assert "keep me" in page
    assert not Sandbox.objects.exists()


def test_a_form_sent_twice_makes_one_sandbox(member_client: Client, template: Template):
    first, second = (member_client.post(NEW, filled(template)) for _ in range(2))
    assert first["Location"] == second["Location"]
    assert Sandbox.objects.count() == 1


def test_a_form_changed_and_sent_again_makes_another(member_client: Client, template: Template):
    member_client.post(NEW, filled(template))
    member_client.post(NEW, filled(template, prompt="echo other"))
    assert Sandbox.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_two_forms_at_the_same_moment_make_one_sandbox(member: User, template: Template):
    both = threading.Barrier(2)
    answers: list[str] = []

    def post() -> None:
        browser = signed_in(member)
        both.wait(10)
        answers.append(browser.post(NEW, filled(template))["Location"])

    threads = [threading.Thread(target=close_after, args=(post,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(answers) == 2
    assert len(set(answers)) == 1
    assert Sandbox.objects.count() == 1


def test_a_mark_that_was_used_a_moment_ago_is_no_fault_of_the_form(project: Project, template: Template):
    first = fleet.launch(project, None, template=template, request_key="m")
    second = Sandbox(project=project, template=template, tool=template.tool, status="creating", request_key="m")
    fleet.check(second, "")
    with pytest.raises(IntegrityError), transaction.atomic():
        second.save()
    assert fleet.launch(project, None, template=template, request_key="m") == first


def close_after(work: Any) -> None:
    """Run in a thread, then give its database connection back."""
    try:
        work()
    finally:
        connection.close()


def test_the_form_starts_from_the_project(member_client: Client, project: Project, template: Template):
    Project.objects.update(
        repository_url="https://github.com/acme/rocket.git", default_branch="trunk", setup_script="make"
    )
    page = member_client.get(NEW).content.decode()
    assert 'value="https://github.com/acme/rocket.git"' in page
    assert 'value="trunk"' in page


def test_another_like_an_earlier_one_starts_from_it(member_client: Client, member: User, template: Template):
    member_client.post(NEW, filled(template, prompt="echo again", memory_mb=512, timeout_minutes=7))
    page = member_client.get(f"{NEW}?from={Sandbox.objects.get().pk}").content.decode()
    assert "echo again" in page
    assert 'value="512"' in page
    assert 'value="7"' in page


def test_a_sandbox_of_another_project_is_no_pattern(member_client: Client, template: Template):
    other = make(Project.objects.create(name="Other", slug="other"), template, memory_mb=777)
    assert 'value="777"' not in member_client.get(f"{NEW}?from={other.pk}").content.decode()


def test_the_summary_follows_what_is_filled_in(member_client: Client, template: Template):
    stock.rates()
    page = member_client.get(f"{NEW}summary/", filled(template, cpu=2, memory_mb=4096, branch="dev")).content.decode()
    assert "2 CPU, 4096 MB" in page
    # facts: 2 vCPU and 4 GiB cost 0.1656 USD an hour at E2B's list price.
    assert "$0.1656" in page
    assert "Branch dev" in page


def test_too_little_memory_for_the_template_is_warned_of(member_client: Client, template: Template):
    Template.objects.update(needs_mb=1000)
    page = member_client.get(f"{NEW}summary/", filled(template, memory_mb=512)).content.decode()
    assert "Script usually needs 1000 MB." in page
    answer = member_client.post(NEW, filled(template, memory_mb=512), follow=True)
    assert "Script usually needs 1000 MB of memory." in answer.content.decode()


@pytest.mark.parametrize("nonsense", ["", "many", "-1", "9" * 30])
def test_the_summary_survives_nonsense(nonsense: str, member_client: Client, template: Template):
    asked = filled(template, cpu=nonsense, memory_mb=nonsense, template=nonsense)
    assert member_client.get(f"{NEW}summary/", asked).status_code == 200


def test_models_are_suggested_by_tool_and_effort_has_to_suit_it(member_client: Client, project: Project):
    offered.models()
    claude = Template.objects.create(slug="claude", name="Claude Code", tool="claude", image="claude")
    text = member_client.get(f"{NEW}summary/", filled(claude)).content.decode()
    for model in AGENTS["claude"].models:
        assert f'<option value="{model}">' in text
    refused = member_client.post(NEW, filled(claude, designer_model="--version"))
    assert refused.status_code == 422
    assert "is no name of a model" in refused.content.decode()
    assert Sandbox.objects.count() == 0
    member_client.post(NEW, filled(claude, designer_model="claude-opus-4-5", effort="high"))
    assert Sandbox.objects.get().effort == "high"
