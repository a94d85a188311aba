"""What people do to workflows as a whole: copy, archive, restore."""

from django.db import transaction
from django.utils import timezone

from codecourier import audit
from codecourier.models import User

from .models import Workflow


def duplicate(workflow: Workflow, user: User) -> Workflow:
    """A copy under a free name, with steps and blocks of its own."""
    steps, of = list(workflow.steps.all()), workflow.pk
    blocks = list(workflow.blocks.all())
    workflow.pk, workflow.archived_at, workflow.created_by = None, None, user
    workflow.created_at, workflow.name = timezone.now(), free_name(workflow)
    with transaction.atomic():
        workflow.save(force_insert=True)
        known = dict[int | None, int | None]({None: None})
        for block in blocks:
            old, block.pk, block.workflow = block.pk, None, workflow
            block.save(force_insert=True)
            known[old] = block.pk
        for step in steps:
            step.pk, step.workflow, step.block_id = None, workflow, known[step.block_id]
            step.save(force_insert=True)
        audit.note(user, "workflow.duplicated", workflow, of=of)
    return workflow


def free_name(workflow: Workflow) -> str:
    """Its name with a number that is free."""
    taken = set(Workflow.objects.filter(project=workflow.project).values_list("name", flat=True))
    names = (f"{workflow.name[:190]} {number}" for number in range(2, len(taken) + 3))
    return next(name for name in names if name not in taken)


def archive(workflow: Workflow, user: User) -> bool:
    """Archive it, or restore it; False when another one has its name by now."""
    restores = workflow.archived_at is not None
    if restores and Workflow.objects.kept().filter(project=workflow.project_id, name=workflow.name).exists():
        return False
    with transaction.atomic():
        workflow.archived_at = None if restores else timezone.now()
        workflow.save(update_fields=["archived_at"])
        audit.note(user, "workflow.restored" if restores else "workflow.archived", workflow)
    return True
