"""What a new project begins with: a persona for each of the common roles."""

from pathlib import Path

from codecourier.models import Project
from personas.models import Persona
from personas.roles import ROLES

FOLDER = Path(__file__).parent


def text(role: str) -> str:
    """The stock instructions of a role, empty where there are none."""
    path = FOLDER / f"{role}.md"
    return path.read_text() if path.exists() else ""


def welcome(project: Project) -> None:
    """A persona for each role that has instructions; those of the same name stay as they are."""
    known = set(Persona.objects.kept().filter(project=project).values_list("name", flat=True))
    Persona.objects.bulk_create(
        Persona(project=project, name=role.title, role=role.key, tool=role.tool, instructions=text(role.key))
        for role in ROLES.values()
        if text(role.key) and role.title not in known
    )
