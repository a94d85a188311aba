"""What a machine gets: only what was published, only of its project, with versions and digests."""

import json

import pytest

from codecourier import registries
from codecourier.models import Project, User, Variable
from codecourier.registries import Addition
from personas import library
from personas.briefing import Briefing, brief
from personas.models import Asset, Persona
from personas.stock import welcome


def asset(project: Project, kind: str, name: str, text: str) -> Asset:
    made = Asset.objects.create(project=project, kind=kind, name=name)
    library.save(made, None, {made.main: text.encode()}, 0)
    library.publish(made, None)
    return made


@pytest.fixture
def persona(project: Project, member: User) -> Persona:
    made = Persona.objects.create(
        project=project, name="Ann", instructions="You design.",
        context=asset(project, "context", "domain", "Rockets fly."),
    )  # fmt: skip
    made.assets.add(
        asset(project, "skill", "style", "---\nname: style\ndescription: d\n---\n"),
        asset(project, "command", "tidy", "Tidy up."),
        asset(project, "script", "probe", "#!/bin/sh\necho probe"),
    )
    return made


def test_everything_of_the_persona_and_the_project_is_in_it(project: Project, persona: Persona) -> None:
    project.instructions = "Use tabs."
    Variable.objects.create(project=project, name="TOKEN", value="canary-0123", secret=True)
    made = brief(project, persona)
    assert made.system_prompt.startswith("You work alone")
    assert made.system_prompt.endswith("You design.")
    assert made.document == "Use tabs.\n\n# domain\n\nRockets fly.\n"
    assert [skill.name for skill in made.skills] == ["style"]
    assert [(command.name, command.text) for command in made.commands] == [("tidy", "Tidy up.")]
    assert [script.name for script in made.scripts] == ["probe"]
    assert made.variables == ("TOKEN",)
    named = [(source.kind, source.name, source.version) for source in made.sources]
    assert ("Skill", "style", 1) in named
    assert ("Persona", "Ann", 0) in named
    stored = json.dumps(made.to_json())
    assert "canary" not in stored
    assert Briefing.from_json(json.loads(stored)) == made


def test_a_draft_reaches_no_machine(project: Project, persona: Persona) -> None:
    context = persona.context
    assert context
    library.save(context, None, {"context.md": b"Draft."}, context.draft_number)
    assert brief(project, Persona.objects.get()).contexts == {"domain": "Rockets fly."}
    library.publish(context, None)
    assert brief(project, Persona.objects.get()).contexts == {"domain": "Draft."}
    library.archive(context, None)
    assert brief(project, Persona.objects.get()).contexts == {}


def test_a_new_project_has_a_persona_for_the_common_roles(project: Project) -> None:
    welcome(project)
    welcome(project)
    roles = set(Persona.objects.filter(project=project).values_list("role", flat=True))
    assert {"designer", "checker", "optimizer", "planner", "investigator", "reviewer", "evaluator"} <= roles
    assert Persona.objects.count() == len(roles)


def test_a_context_that_is_asked_for_goes_before_the_personas(project: Project, persona: Persona) -> None:
    other = asset(project, "context", "other", "Rockets land.")
    assert brief(project, persona, other).contexts == {"other": "Rockets land."}
    assert brief(project, None, other).contexts == {"other": "Rockets land."}
    library.archive(other, None)
    assert brief(project, persona, Asset.objects.get(name="other")).contexts == {}


def test_what_other_apps_add_is_a_context_and_named_with_its_version(
    project: Project, persona: Persona, monkeypatch: pytest.MonkeyPatch
) -> None:
    def add(of: Project, role: str) -> list[Addition]:
        return [Addition("Learnings", f"Of {of.slug} for {role}.", 4), Addition("Nothing", " ", 1)]

    monkeypatch.setattr(registries, "additions", [add])
    made = brief(project, persona)
    assert next(iter(made.contexts.items())) == ("Learnings", "Of rocket for designer.")
    assert "# Learnings\n\nOf rocket for designer." in made.document
    assert [(one.kind, one.name, one.version) for one in made.sources if one.version == 4] == [
        ("Learnings", "Rocket", 4)
    ]
    assert made.learnings == Briefing.from_json(made.to_json()).learnings == 4
    assert brief(project).contexts["Learnings"] == "Of rocket for ."
