"""The pages of personas and assets, over HTTP."""

import io
import json

import pytest
from django.test import Client
from django.urls import reverse

from codecourier.models import Project, User
from personas import library
from personas.models import Asset, Persona
from sandboxes import fleet
from sandboxes.models import SessionConfig, Template
from tests.personas.test_library import GOOD, zipped


def at(name: str, project: Project, *args: object) -> str:
    return reverse(f"personas:{name}", args=[project.slug, *args])


@pytest.fixture
def context(project: Project, member: User) -> Asset:
    made = Asset.objects.create(project=project, kind="context", name="domain")
    library.save(made, member, {"context.md": b"one"}, 0)
    return made


def test_a_persona_is_made_changed_duplicated_and_archived(member_client: Client, project: Project) -> None:
    assert b"No personas yet" in member_client.get(at("list", project)).content
    page = member_client.get(at("new", project) + "?role=checker")
    assert b"You decide whether a change" in page.content
    data = {"name": "Strict", "role": "checker", "tool": "codex", "instructions": "Be strict."}
    member_client.post(at("new", project), data)
    persona = Persona.objects.get()
    assert (persona.tool, persona.project) == ("codex", project)
    assert member_client.post(at("new", project), data).status_code == 422
    member_client.post(at("detail", project, persona.pk), {**data, "effort": "high"})
    persona.refresh_from_db()
    assert persona.effort == "high"
    member_client.post(at("duplicate", project, persona.pk))
    assert sorted(Persona.objects.values_list("name", flat=True)) == ["Strict", "Strict 2"]
    member_client.post(at("archive", project, persona.pk))
    assert list(Persona.objects.kept().values_list("name", flat=True)) == ["Strict 2"]


def test_an_asset_goes_from_draft_to_version_and_back(member_client: Client, project: Project) -> None:
    member_client.post(at("asset-new", project), {"kind": "command", "name": "tidy", "description": ""})
    asset = Asset.objects.get()
    save = at("asset-save", project, asset.pk)
    member_client.post(save, {"file": "command.md", "text": "Tidy\r\nup", "number": "0"})
    asset.refresh_from_db()
    assert (asset.text, asset.active) == ("Tidy\nup", None)
    member_client.post(at("asset-publish", project, asset.pk), {"note": "First"})
    member_client.post(save, {"file": "command.md", "text": "Other", "number": "1"})
    member_client.post(at("asset-publish", project, asset.pk))
    page = member_client.get(at("asset-version", project, asset.pk, 2)).content.decode()
    assert '<span class="diff-del">-Tidy' in page
    assert '<span class="diff-add">+Other' in page
    member_client.post(at("asset-restore", project, asset.pk, 1))
    asset.refresh_from_db()
    assert (asset.text, asset.unpublished) == ("Tidy\nup", True)
    assert b"unpublished changes" in member_client.get(at("asset", project, asset.pk)).content
    assert member_client.get(at("asset-download", project, asset.pk) + "?version=2").content == b"Other"


def test_whoever_saves_second_keeps_what_was_typed(member_client: Client, project: Project, context: Asset) -> None:
    save = at("asset-save", project, context.pk)
    page = member_client.post(save, {"file": "context.md", "text": "mine", "number": "0"})
    assert (page.status_code, b"mine" in page.content, b"one" in page.content) == (409, True, True)
    part = member_client.post(save, {"text": "mine", "number": "0"}, headers={"HX-Request": "true"})
    assert (part.status_code, b"meanwhile" in part.content, b'value="1"' in part.content) == (409, True, True)
    member_client.post(save, {"text": "mine", "number": "1"})
    context.refresh_from_db()
    assert context.text == "mine"


def test_a_skill_is_uploaded_as_an_archive(member_client: Client, project: Project) -> None:
    upload = at("asset-upload", project)
    sent = io.BytesIO(zipped(**{"s/SKILL.md": GOOD, "s/run.sh": b"echo"}))
    sent.name = "skill.zip"
    member_client.post(upload, {"archive": sent})
    asset = Asset.objects.get()
    assert (asset.name, asset.kind, sorted(asset.files)) == ("review-style", "skill", ["SKILL.md", "run.sh"])
    member_client.post(at("asset-files", project, asset.pk), {"path": "notes.md"})
    member_client.post(at("asset-files", project, asset.pk), {"remove": "run.sh"})
    asset.refresh_from_db()
    assert sorted(asset.files) == ["SKILL.md", "notes.md"]
    bad = io.BytesIO(b"no archive")
    bad.name = "skill.zip"
    page = member_client.post(upload, {"archive": bad}, follow=True)
    assert b"not a zip archive" in page.content


def sent_as(name: str, data: bytes) -> io.BytesIO:
    upload = io.BytesIO(data)
    upload.name = name
    return upload


def test_a_skill_is_uploaded_as_a_folder(member_client: Client, project: Project) -> None:
    paths = ["s/SKILL.md", "s/scripts/run.sh", "s/.DS_Store", "s/docs/run.sh"]
    files = [sent_as(path, GOOD if path.endswith(".md") else path.encode()) for path in paths]
    member_client.post(at("asset-upload", project), {"folder": files, "paths": json.dumps(paths)})
    asset = Asset.objects.get()
    assert (asset.name, asset.files) == (
        "review-style",
        {"SKILL.md": GOOD, "scripts/run.sh": b"s/scripts/run.sh", "docs/run.sh": b"s/docs/run.sh"},
    )


@pytest.mark.parametrize(
    ("names", "paths", "reason"),
    [
        ([], "", "Choose a folder or a file first."),
        (["a.md"], '["s/a.md"]', "There is no SKILL.md at its top"),
        (["SKILL.md"], '["s/../../SKILL.md", "more"]', "is uploaded as a draft"),
        (["SKILL.md", "x"], '["SKILL.md", "../x"]', "not a path inside the folder"),
        (["SKILL.md"], "{", "Enter a valid JSON."),
        (["SKILL.md", *["x"] * 200], "", "more than 200 files"),
    ],
)
def test_a_folder_that_is_no_skill_is_told(
    member_client: Client, project: Project, names: list[str], paths: str, reason: str
) -> None:
    files = [sent_as(name, GOOD) for name in names]
    page = member_client.post(at("asset-upload", project), {"folder": files, "paths": paths}, follow=True)
    assert reason in page.content.decode()


def test_strangers_find_nothing(stranger_client: Client, project: Project, context: Asset) -> None:
    persona = Persona.objects.create(project=project, name="Ann")
    for name, args in [("list", []), ("new", []), ("detail", [persona.pk]), ("assets", []), ("asset", [context.pk]),
                       ("asset-download", [context.pk]), ("asset-new", [])]:  # fmt: skip
        assert stranger_client.get(at(name, project, *args)).status_code == 404
    for name, args in [("duplicate", [persona.pk]), ("archive", [persona.pk]), ("asset-save", [context.pk]),
                       ("asset-publish", [context.pk]), ("asset-files", [context.pk]), ("asset-archive", [context.pk]),
                       ("asset-upload", [])]:  # fmt: skip
        assert stranger_client.post(at(name, project, *args)).status_code == 404


def test_another_projects_assets_can_not_be_chosen(member_client: Client, project: Project) -> None:
    other = Project.objects.create(name="Other", slug="other")
    foreign = Asset.objects.create(project=other, kind="skill", name="theirs")
    data = {"name": "A", "role": "designer", "tool": "claude", "assets": [foreign.pk]}
    assert member_client.post(at("new", project), data).status_code == 422
    assert not Persona.objects.exists()


def test_a_preview_shows_what_was_typed_and_runs_none_of_it(member_client: Client, project: Project) -> None:
    skill = Asset.objects.create(project=project, kind="skill", name="tables")
    typed = "---\nname: tables\ndescription: Draws\n---\n# Steps\n\n<script>alert(1)</script> **now**"
    at_once = member_client.post(
        at("asset-preview", project, skill.pk), {"file": "SKILL.md", "text": typed}, headers={"HX-Request": "true"}
    ).content.decode()
    assert "<h1>Steps</h1>" in at_once
    assert "<strong>now</strong>" in at_once
    assert "<dd>Draws</dd>" in at_once
    assert "<script>alert" not in at_once
    assert "<html" not in at_once
    whole = member_client.post(at("asset-preview", project, skill.pk), {"file": "run.py", "text": "import os"})
    assert '<span class="kn">import</span>' in whole.content.decode()
    assert "<html" in whole.content.decode()
    assert Asset.objects.get(pk=skill.pk).draft_number == 0


def test_a_persona_shows_where_it_is_used(member_client: Client, project: Project, member: User) -> None:
    persona = Persona.objects.create(project=project, name="Scribe", role="designer", tool="script")
    page = member_client.get(at("detail", project, persona.pk)).content.decode()
    assert "No sandbox has worked as Scribe yet." in page
    assert "No kind of session" in page
    template = Template.objects.create(slug="sh", name="Shell", tool="script", image="script")
    SessionConfig.objects.create(project=project, kind="issue", persona=persona)
    sandbox = fleet.launch(project, member, template=template, prompt="Write it down", persona=persona)
    other = fleet.launch(project, member, template=template, prompt="Nobody's")
    page = member_client.get(at("detail", project, persona.pk)).content.decode()
    assert f"/sandboxes/{sandbox.pk}/" in page
    assert f"/sandboxes/{other.pk}/" not in page
    assert "<dd>Issue" in page
    assert "0 of 1 succeeded" in page
    rows = member_client.get(f"/p/{project.slug}/sandboxes/?persona={persona.pk}&kind=all").content.decode()
    assert "Write it down" in rows
    assert "Nobody&#x27;s" not in rows
    persona.name = "Renamed"
    persona.save()
    assert f"/sandboxes/{sandbox.pk}/" in member_client.get(at("detail", project, persona.pk)).content.decode()
    detail = member_client.get(f"/p/{project.slug}/sandboxes/{sandbox.pk}/").content.decode()
    assert f'<a href="{at("detail", project, persona.pk)}">Scribe</a>' in detail
