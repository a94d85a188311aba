"""Workflows of one script, and runs that end as a test wants; there are no machines."""

from typing import Any

from django.utils import timezone

from codecourier.models import Project
from personas.models import Persona
from sandboxes.models import Checkpoint, Sandbox, Template
from workflows.models import Run, Step, Workflow


def script(project: Project, name: str = "Script", text: str = 'bash -c "$PROMPT"') -> Workflow:
    """One step, which is a script."""
    Template.objects.get_or_create(slug="script", defaults={"name": "Script", "tool": "script", "image": "script"})
    # As every new project has one.
    Persona.objects.get_or_create(project=project, role="evaluator", defaults={"name": "Evaluator", "tool": "script"})
    persona = Persona.objects.create(project=project, name=f"{name} of {project}", tool="script", role="designer")
    workflow = Workflow.objects.create(project=project, name=name)
    Step.objects.create(workflow=workflow, position=0, persona=persona, instructions=text)
    return workflow


def end_run(run: Run, status: str = "completed", **fields: Any) -> Run:
    """As if its steps were over."""
    run.refresh_from_db()
    if run.status == "pending":
        run.move("running", started_at=timezone.now())
    run.move(status, ended_at=timezone.now(), **fields)
    return run


def result(run: Run, commit: str = "c" * 40) -> Checkpoint:
    """Work that a run left."""
    template = Template.objects.get(slug="script")
    sandbox = Sandbox.objects.create(
        project=run.project, template=template, tool="script", kind="step", status="killed"
    )
    row = Checkpoint.objects.create(sandbox=sandbox, cause="turn", status="stored", commit=commit)
    Run.objects.filter(pk=run.pk).update(checkpoint=row)
    return row
