"""What follows when a row of this app moves (each receiver only enqueues one task) or is deleted (its files go too)."""

from functools import partial
from typing import Any

from django.db import transaction
from django.db.models.signals import post_delete
from django.dispatch import receiver

from codecourier.lifecycle import moved
from codecourier.models import Project

from . import attachments, tasks
from .checkpoints.store import Store, refs_of
from .models import Checkpoint, Job, PullRequest, Sandbox
from .publishing import pulls
from .reasons import Reason


@receiver(moved, sender=Job)
def job_moved(row: Job, **_: Any) -> None:
    """The end of a job, of whatever kind, brings its sandbox forward."""
    if row.final:
        Sandbox.poke(row.sandbox_id)


@receiver(moved, sender=Sandbox)
def sandbox_moved(row: Sandbox, **_: Any) -> None:
    """An end that nobody asked for is told to whoever made it."""
    if row.final and row.created_by_id and row.reason not in {Reason.USER, Reason.FINISHED}:
        tasks.tell_end.enqueue(row.pk)


@receiver(moved, sender=Checkpoint)
def checkpoint_moved(row: Checkpoint, to: str, **_: Any) -> None:
    """What is saved may go on to a remote."""
    if to == Checkpoint.Status.STORED:
        tasks.publish_checkpoint.enqueue(row.pk)


@receiver(moved, sender=PullRequest)
def pull_request_moved(row: PullRequest, old: str, to: str, **_: Any) -> None:
    """A new pull request, its end and what holds it back are news."""
    if to in pulls.NEWS:
        tasks.tell_pull_request.enqueue(row.pk, to)


@receiver(post_delete, sender=Sandbox)
def sandbox_deleted(instance: Sandbox, **_: Any) -> None:
    """What it had on the portal's storage."""
    transaction.on_commit(partial(attachments.forget, instance.pk))
    transaction.on_commit(partial(Store(instance.project_id).forget, refs_of(instance.pk)))


@receiver(post_delete, sender=Project)
def project_deleted(instance: Project, **_: Any) -> None:
    """The repository of all its work."""
    transaction.on_commit(Store(instance.pk).remove)
