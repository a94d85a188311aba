"""Workflows whose agents are played by the tests: rows only, no machine."""

from collections.abc import Sequence
from typing import Any

import pytest

from codecourier.models import Project
from personas.models import Persona
from sandboxes import stock
from workflows.models import Block, Step, Workflow


@pytest.fixture
def templates(db: None) -> None:
    """The stock templates of all tools."""
    stock.templates()


def persona(project: Project, role: str = "designer", tool: str = "claude", **fields: Any) -> Persona:
    """One with a name of its own."""
    number = Persona.objects.filter(project=project).count() + 1
    return Persona.objects.create(project=project, name=f"{role.title()} {number}", role=role, tool=tool, **fields)


def build(project: Project, *units: str | tuple[int, Sequence[str]], name: str = "", **fields: Any) -> Workflow:
    """A workflow of roles; a block is (at most, roles). `designer*3` is a step with three candidates."""
    number = Workflow.objects.filter(project=project).count() + 1
    workflow = Workflow.objects.create(project=project, name=name or f"Flow {number}", **fields)
    position = 0
    for unit in units:
        most, roles = (0, [unit]) if isinstance(unit, str) else unit
        block = Block.objects.create(workflow=workflow, loop_max_iterations=most) if most else None
        for words in roles:
            role, _, count = words.partition("*")
            several = [persona(project, role).pk for _ in range(int(count or 0))]
            Step.objects.create(
                workflow=workflow, position=position, persona=persona(project, role), block=block, candidates=several
            )
            position += 1
    return workflow
