"""What every page owes to people who use a keyboard or a screen reader, judged by axe."""

import json
from typing import Any

import pytest
from django.conf import settings
from playwright.sync_api import Browser

from codecourier.models import Invitation, Project, User
from issues import cards
from issues import chain as chains
from issues.models import Issue, IssueSession, Question
from personas import library
from personas.models import Asset, Persona
from sandboxes import fleet
from sandboxes.models import Event, Job, Sandbox, Template, Turn
from tests.browser.conftest import Web, open_as
from tests.workflows.pages import run, workflow
from workflows.models import Workflow

AXE = settings.BASE_DIR / "node_modules" / "axe-core" / "axe.min.js"
TABS = ("conversation", "output", "timeline", "files", "terminal", "previews", "usage")
SETTINGS = ("general", "agents", "machines", "sandboxes", "work", "keys", "variables", "history", "end")
OWN = ["/projects/", "/projects/new/", "/notifications/", "/account/", "/account/email/", "/account/2fa/", "/nowhere/"]
# Style sheets fetched once more would serve rules that are still experiments.
ASKED = {"resultTypes": ["violations"], "preload": False}
SERIOUS = {"serious", "critical"}
EVENTS: list[tuple[str, dict[str, Any]]] = [
    ("thinking", {"text": "Let me look."}),
    ("text", {"text": "I will **run** the tests.\n\n```python\nprint(1)\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |"}),
    ("tool_call", {"id": "1", "name": "Bash", "input": {"command": "pytest -q"}}),
    ("tool_result", {"id": "1", "output": "1 failed", "error": True, "exit": 1, "seconds": 2.5}),
    ("tool_call", {"id": "2", "name": "Edit", "input": {"file_path": "a.py", "old_string": "1", "new_string": "2"}}),
    ("tool_result", {"id": "2", "output": "ok", "error": False, "exit": None, "seconds": 0.1}),
    ("usage", {"model": "claude-sonnet-4-5", "input": 10, "output": 5, "cache_read": 0, "cache_write": 0,
               "reasoning": 0}),
    ("end", {"ok": True, "text": "Done."}),
]  # fmt: skip


@pytest.fixture
def sandbox(project: Project, owner: User, template: Template) -> Sandbox:
    """One with a turn that has something of everything."""
    made = fleet.launch(project, owner, template=template, prompt="Fix the discount")
    job = Job.objects.create(sandbox=made, kind=Job.Kind.TURN, status=Job.Status.EXITED, events=len(EVENTS))
    for seq, (kind, data) in enumerate(EVENTS, 1):
        Event.objects.create(job=job, seq=seq, t_ms=seq, kind=kind, data=data)
    Sandbox.objects.update(tool="claude")
    Turn.objects.update(job=job, status="running", model="claude-sonnet-4-5")
    return made


@pytest.fixture
def paths(project: Project, owner: User, sandbox: Sandbox) -> list[str]:
    """Every page that a person opens."""
    persona = Persona.objects.create(project=project, name="Ann", instructions="You design.")
    asset = Asset.objects.create(project=project, kind="skill", name="style")
    library.save(asset, owner, {"SKILL.md": b"---\nname: style\ndescription: d\n---\n", "a/b.py": b"1"}, 0)
    library.publish(asset, owner, "First")
    persona.assets.add(asset)
    Invitation.objects.create(
        project=project, email="new@example.com", digest="d", invited_by=owner, expires_at=asset.created_at
    )
    loop = workflow(project)
    run(loop)
    issues = issue_pages(project, owner, sandbox, loop)
    inside = [
        "", "sandboxes/", "sandboxes/?trash=true", "sandboxes/new/", f"sandboxes/{sandbox.pk}/",
        *[f"sandboxes/{sandbox.pk}/?tab={tab}" for tab in TABS],
        "pull-requests/", "runs/", "schedules/", "schedules/new/",
        "workflows/", *[f"workflows/{loop.pk}/{page}" for page in ("", "edit/", "run/")],
        "personas/", "personas/new/", f"personas/{persona.pk}/", "assets/", "assets/new/", f"assets/{asset.pk}/",
        f"assets/{asset.pk}/versions/1/", "members/",
        *[f"settings/{tab}/" for tab in SETTINGS], *issues,
    ]  # fmt: skip
    return [f"/p/{project.slug}/{path}" for path in inside] + OWN


def issue_pages(project: Project, owner: User, sandbox: Sandbox, flow: Workflow) -> list[str]:
    """A card that may be a duplicate, its session with a question, a chain; the board has a test of its own."""
    session = IssueSession.objects.create(project=project, status="done", summary="Read.", sandbox=sandbox)
    said = {"session": session, "files": ["a.py"]}
    first, twin = (cards.create(project, owner, title=title, **said) for title in ("One", "Two"))
    Issue.objects.filter(pk=twin.pk).update(duplicate_of=first, similarity=0.7)
    question: dict[str, Any] = {"text": "Why?", "answer": "So.", "status": "answered", "confidence": 0.5}
    Question.objects.create(project=project, session=session, evidence=[{"file": "a.py", "line": 1}], **question)
    chain = chains.of_issues(project, owner, flow, [first])
    return [
        "issues/?view=list", f"issues/{first.pk}/", "issues/new/", f"issues/sessions/{session.pk}/",
        "issues/sessions/new/", "issues/questions/", f"issues/chains/{chain.pk}/", "settings/issues/",
    ]  # fmt: skip


@pytest.mark.parametrize("theme", [pytest.param("light", marks=pytest.mark.long), "dark"])
def test_axe_finds_nothing_serious_on_any_page(
    browser: Browser, web: Web, owner: User, paths: list[str], theme: str
) -> None:
    page = open_as(browser, web, owner, color_scheme=theme, reduced_motion="reduce")
    # What is dark comes from the same templates and one style sheet: every eighth page tells of it.
    paths = paths if theme == "light" else paths[4::8]
    page.add_init_script(path=AXE)
    found = dict[str, list[str]]()
    for path in [*paths, "/sign-in/"]:
        if path == "/sign-in/":
            page.context.clear_cookies()
        page.goto(path)
        page.locator("main").wait_for()
        told = page.evaluate(f"axe.run(document, {json.dumps(ASKED)})")
        bad = [entry for entry in told["violations"] if entry["impact"] in SERIOUS]
        if bad:
            found[path] = [f"{entry['id']}: {[node['html'][:160] for node in entry['nodes'][:3]]}" for entry in bad]
    page.context.close()
    assert not found, json.dumps(found, indent=1)
