"""Workflows and runs for tests of pages, without a machine."""

from datetime import timedelta
from typing import Any

from django.utils import timezone

from codecourier.models import Project
from personas.models import Persona
from sandboxes.models import Kind, Template
from tests.sandboxes.pages import make as make_sandbox
from workflows.models import Block, Run, Step, StepRun, Workflow


def persona(project: Project, role: str = "designer", **fields: Any) -> Persona:
    """One whose tool is a script unless another is asked for."""
    named = {"name": role.title(), "tool": "script", "instructions": "true", **fields}
    return Persona.objects.get_or_create(project=project, role=role, name=named["name"], defaults=named)[0]


def workflow(project: Project, name: str = "Loop", roles: tuple[str, ...] = ("designer", "checker")) -> Workflow:
    """One whose steps are all in one block when a checker is among them."""
    made = Workflow.objects.create(project=project, name=name)
    persona(project, "evaluator")
    block = Block.objects.create(workflow=made) if "checker" in roles else None
    for position, role in enumerate(roles):
        Step.objects.create(workflow=made, position=position, persona=persona(project, role), block=block)
    return made


def run(of: Workflow, status: str = "completed", **fields: Any) -> Run:
    """A run as it would stand in this status, after a minute's work."""
    now = timezone.now()
    begun = None if status == "pending" else now - timedelta(minutes=1)
    ended = None if status in Run.OPEN else now
    manifest = {"workflow": {"id": of.pk, "name": of.name}, "steps": [], "blocks": []}
    named = {"title": "Mend it", "prompt": "Mend it", "started_at": begun, "ended_at": ended, "manifest": manifest}
    return Run.objects.create(**{"project": of.project, "workflow": of, "status": status, **named, **fields})


def with_machine(made: Run, template: Template, step: int = 0) -> StepRun:
    """A step of the run that worked in a sandbox of its own."""
    sandbox = make_sandbox(made.project, template, "killed", kind=Kind.STEP, labels={"run_id": made.pk})
    return StepRun.objects.create(run=made, step=step, status="succeeded", sandbox=sandbox)
