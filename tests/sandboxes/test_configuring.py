"""What a project's sandboxes start from."""

from django.test import Client
from django.urls import reverse

from codecourier.models import AuditEntry, Project, User
from personas.models import Persona
from sandboxes.models import SessionConfig, Template
from tests.conftest import signed_in


def test_each_kind_is_configured_by_itself(project: Project, owner: User, template: Template) -> None:
    browser, url = signed_in(owner), reverse("settings-tab", args=["rocket", "sandboxes"])
    persona = Persona.objects.create(project=project, name="Ann", tool="script")
    data = {"template": template.pk, "persona": persona.pk, "model": "m-1", "cpu": 4, "memory_mb": 2048,
            "timeout_ms": 7_200_000}  # fmt: skip
    assert browser.post(url, data).status_code == 302
    browser.post(f"{url}?kind=issue", {"prompt": "Find bugs.", "effort": "high"})
    assert SessionConfig.of(project, "issue").prompt == "Find bugs."
    assert SessionConfig.of(project, "judge").pk is None
    page = browser.get(reverse("sandboxes:new", args=["rocket"])).content.decode()
    assert 'name="timeout_minutes" value="120"' in page
    assert 'value="m-1"' in page
    assert f'<option value="{persona.pk}" selected>Ann' in page
    assert AuditEntry.objects.filter(action="session.configured").count() == 2


def test_what_can_not_be_is_refused_with_the_range(project: Project, owner: User) -> None:
    page = signed_in(owner).post(reverse("settings-tab", args=["rocket", "sandboxes"]), {"cpu": 99})
    assert (page.status_code, b"Allowed is 1 to 8 CPUs." in page.content) == (422, True)


def test_only_admins_see_it(member_client: Client, stranger_client: Client, project: Project) -> None:
    url = reverse("settings-tab", args=["rocket", "sandboxes"])
    assert (member_client.get(url).status_code, stranger_client.get(url).status_code) == (404, 404)
