"""A new sandbox with a persona: what it brings is pinned, what is left open is filled in."""

from typing import Any

from django.test import Client
from django.urls import reverse

from codecourier.models import Project
from personas.models import Persona
from sandboxes.models import Sandbox, Template

FORM: dict[str, Any] = {"prompt": "Go", "cpu": 2, "memory_mb": 1024, "timeout_minutes": 60, "idle_minutes": 15}


def persona_of(project: Project, tool: str = "script") -> Persona:
    return Persona.objects.create(
        project=project, name="Ann", role="checker", tool=tool, model="m-1", effort="high", instructions="Be strict."
    )


def test_its_briefing_is_pinned_at_launch(member_client: Client, project: Project, template: Template) -> None:
    persona = persona_of(project)
    url = reverse("sandboxes:new", args=[project.slug])
    assert b"selected>Ann" in member_client.get(f"{url}?persona={persona.pk}").content
    member_client.post(url, {**FORM, "template": template.pk, "persona": persona.pk})
    sandbox = Sandbox.objects.get()
    Persona.objects.update(instructions="Be kind.")
    assert sandbox.briefing["system_prompt"].endswith("Be strict.")
    assert (sandbox.designer_model, sandbox.effort) == ("m-1", "high")
    assert (sandbox.labels["persona"], sandbox.labels["role"]) == ("Ann", "checker")


def test_it_does_not_work_with_another_tool(member_client: Client, project: Project, template: Template) -> None:
    persona = persona_of(project, "codex")
    form = {**FORM, "template": template.pk, "persona": persona.pk}
    page = member_client.post(reverse("sandboxes:new", args=[project.slug]), form)
    assert (page.status_code, b"Ann works with Codex" in page.content) == (422, True)
    assert not Sandbox.objects.exists()


def test_the_panel_beside_the_form_shows_what_it_brings(
    member_client: Client, project: Project, template: Template
) -> None:
    persona = persona_of(project)
    url = reverse("sandboxes:preview", args=[project.slug])
    panel = member_client.get(url, {**FORM, "template": template.pk, "persona": persona.pk}).content.decode()
    assert "2 parts, as Ann" in panel
    foreign = Persona.objects.create(project=Project.objects.create(name="O", slug="o"), name="Theirs")
    assert "Theirs" not in member_client.get(url, {"persona": foreign.pk}).content.decode()


def test_the_page_shows_what_was_injected_as_it_was_then(
    member_client: Client, project: Project, template: Template
) -> None:
    persona = persona_of(project)
    member_client.post(
        reverse("sandboxes:new", args=[project.slug]), {**FORM, "template": template.pk, "persona": persona.pk}
    )
    Persona.objects.update(instructions="Be kind.")
    sandbox = Sandbox.objects.get()
    Sandbox.objects.update(briefing={**sandbox.briefing, "undelivered": [["/tidy", "It has no commands."]]})
    page = member_client.get(reverse("sandboxes:detail", args=[project.slug, sandbox.pk]) + "?tab=injected")
    text = page.content.decode()
    assert "Be strict." in text
    assert "Be kind." not in text
    assert "It has no commands." in text
