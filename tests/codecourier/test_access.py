"""Who may open what: walks every address, so that a forgotten view fails."""

from collections.abc import Iterator

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from codecourier.models import Project, User
from personas.models import Persona
from sandboxes import fleet
from sandboxes.models import Job, Sandbox, Template, Turn
from tests.codecourier.walking import filled
from tests.conftest import signed_in

OPEN_TO_ALL = {"sign-in", "sign-in-link", "theme", "favicon", "invitation"}
FOR_ADMINS = {"settings", "settings-tab"}
# Whoever may see the usage of all projects: nobody here.
FOR_MANAGERS = "usage:organisation"


def walk(patterns: list[URLPattern | URLResolver], before: str = "", app: str = "") -> Iterator[tuple[str, str]]:
    for entry in patterns:
        route = before + str(entry.pattern)
        if isinstance(entry, URLPattern):
            yield f"{app}{entry.name}", "/" + route
        # Theirs, with rules of their own: the administration, and allauth's part of the account.
        elif not str(entry.pattern).startswith(("admin", "account/")):
            yield from walk(entry.url_patterns, route, f"{entry.app_name}:" if entry.app_name else app)


ADDRESSES = dict(walk(get_resolver().url_patterns))
# GitHub has no session there: its signature is asked for (tests/sandboxes/test_hooks.py).
SIGNED = {"sandboxes:hook-github"}
IN_A_PROJECT = sorted(name for name, route in ADDRESSES.items() if "<slug:slug>" in route and name not in SIGNED)


@pytest.fixture
def sandbox(project: Project, member: User, template: Template) -> Sandbox:
    made = fleet.launch(project, member, template=template, prompt="echo one")
    job = Job.objects.create(sandbox=made, kind=Job.Kind.TURN, status=Job.Status.EXITED)
    Turn.objects.filter(sandbox=made).update(job=job)
    return made


def test_every_project_address_is_walked():
    assert {"project", "sandboxes:list", "sandboxes:detail", "sandboxes:stop", "sandboxes:job-log"} <= set(IN_A_PROJECT)


def test_a_stranger_gets_404_everywhere(sandbox: Sandbox, stranger_client: Client):
    for name in IN_A_PROJECT:
        path = filled(ADDRESSES[name], sandbox)
        codes = {stranger_client.get(path).status_code, stranger_client.post(path).status_code}
        # 405 for the method that no such address takes, whoever asks.
        assert 404 in codes <= {404, 405}, path
    sandbox.refresh_from_db()
    assert (sandbox.wanted, sandbox.deleted_at) == ("run", None)
    assert Persona.objects.get().archived_at is None


def test_anonymous_people_are_sent_to_sign_in(sandbox: Sandbox, client: Client):
    for name in sorted(set(ADDRESSES) - OPEN_TO_ALL - SIGNED):
        path = filled(ADDRESSES[name], sandbox)
        for method in (client.get, client.post):
            answer = method(path)
            assert (answer.status_code, answer["Location"][:16]) == (302, "/sign-in/?next=/"), path


@pytest.mark.parametrize("who", ["owner", "member"])
def test_members_get_an_answer_from_every_page(who: str, sandbox: Sandbox, owner: User, member: User):
    browser = signed_in({"owner": owner, "member": member}[who])
    for name in sorted(set(ADDRESSES) - OPEN_TO_ALL - SIGNED):
        # 409 where a machine would have to run for it.
        closed = (who == "member" and name in FOR_ADMINS) or name.startswith(FOR_MANAGERS)
        expected = {404, 405} if closed else {200, 302, 405, 409}
        path = filled(ADDRESSES[name], sandbox)
        answer = browser.get(path)
        assert answer.status_code in expected, path
        if answer.streaming and not getattr(answer, "is_async", False):
            answer.getvalue()


def test_another_projects_sandbox_is_not_there_under_an_own_project(sandbox: Sandbox, stranger: User):
    own = Project.objects.create(name="Own", slug="own")
    own.memberships.create(user=stranger, role="owner")
    browser, turn = signed_in(stranger), Turn.objects.get(sandbox=sandbox)
    job = Job.objects.get(sandbox=sandbox)
    paths = [f"sandboxes/{sandbox.pk}/", f"jobs/{job.pk}/output.log"]
    posts = [f"sandboxes/{sandbox.pk}/stop/", f"sandboxes/{sandbox.pk}/turns/{turn.pk}/withdraw/"]
    assert [browser.get(f"/p/own/{path}").status_code for path in paths] == [404, 404]
    assert [browser.post(f"/p/own/{path}").status_code for path in posts] == [404, 404]
    assert Turn.objects.filter(pk=turn.pk).exists()


def test_bulk_verbs_leave_other_projects_alone(sandbox: Sandbox, stranger: User):
    own = Project.objects.create(name="Own", slug="own")
    own.memberships.create(user=stranger, role="owner")
    signed_in(stranger).post("/p/own/sandboxes/bulk/", {"verb": "stop", "sandbox": [sandbox.pk]})
    sandbox.refresh_from_db()
    assert sandbox.wanted == "run"


def test_no_page_may_run_a_script_of_its_own(member_client: Client, sandbox: Sandbox):
    for name in ("project", "sandboxes:list", "sandboxes:new", "sandboxes:detail"):
        answer = member_client.get(filled(ADDRESSES[name], sandbox))
        assert "script-src 'self'" in answer["Content-Security-Policy"]
        text = answer.content.decode()
        assert text.count("<script") == text.count('<script src="/static/')
        assert " style=" not in text
        assert not any(f" on{event}=" in text for event in ("click", "submit", "change", "load", "input"))
