"""What other apps say of sandboxes is on their page and in the list, as text."""

from collections.abc import Sequence

import pytest
from django.test import Client
from django.urls import reverse

from codecourier import registries
from codecourier.models import Project
from codecourier.registries import Remark
from sandboxes.models import Sandbox, Template
from tests.sandboxes.pages import make


@pytest.fixture
def sandbox(project: Project, template: Template, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    made = make(project, template, "killed", title="Read")

    def say(rows: Sequence[Sandbox]) -> dict[int, Remark]:
        said = Remark("Lessons", "<b>two</b> found", "bulb", "/found/", "/look/again/", "Look again")
        return {row.pk: said for row in rows if row.title == "Read"}

    monkeypatch.setattr(registries, "remarks", [say])
    return made


def test_the_page_has_a_line_with_what_can_be_done(member_client: Client, sandbox: Sandbox) -> None:
    page = member_client.get(reverse("sandboxes:detail", args=["rocket", sandbox.pk])).content.decode()
    assert '<a href="/found/">&lt;b&gt;two&lt;/b&gt; found</a>' in page
    assert 'formaction="/look/again/"' in page


def test_the_list_has_an_icon(member_client: Client, sandbox: Sandbox, project: Project, template: Template) -> None:
    make(project, template, "killed", title="Not read")
    page = member_client.get(reverse("sandboxes:list", args=["rocket"])).content.decode()
    (row,) = [row for row in page.split("<tr")[1:] if "ti-bulb" in row]
    assert "Not read" not in row
    assert "&lt;b&gt;two" in page
