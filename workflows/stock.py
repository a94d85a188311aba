"""What a new project begins with: the workflows that most teams want first."""

from codecourier.models import Project
from personas.models import Persona

from .models import Block, Step, Workflow

# (name, description, [(role, whether it is in the block)])
STOCK = (
    ("Designer", "One agent does the task.", [("designer", False)]),
    (
        "Designer and checker",
        "A second agent checks the work, and it goes back until the checker passes, three times at most.",
        [("designer", True), ("checker", True)],
    ),
    (
        "Designer and checker, then optimizer",
        "The same, and what passed is polished at the end.",
        [("designer", True), ("checker", True), ("optimizer", False)],
    ),
)


def welcome(project: Project) -> None:
    """Those whose personas the project has; one of the same name stays as it is."""
    personas = {persona.role: persona for persona in Persona.objects.kept().filter(project=project).order_by("-id")}
    for name, description, steps in STOCK:
        if all(role in personas for role, _ in steps) and not known(project, name):
            make(project, name, description, [(personas[role], inside) for role, inside in steps])


def known(project: Project, name: str) -> bool:
    """Whether the project has one of that name."""
    return Workflow.objects.kept().filter(project=project, name=name).exists()


def make(project: Project, name: str, description: str, steps: list[tuple[Persona, bool]]) -> Workflow:
    """One with these steps; those inside are one block."""
    workflow = Workflow.objects.create(project=project, name=name, description=description)
    block = Block.objects.create(workflow=workflow) if any(inside for _, inside in steps) else None
    for position, (persona, inside) in enumerate(steps):
        Step.objects.create(workflow=workflow, position=position, persona=persona, block=block if inside else None)
    return workflow
