"""Short steps for the worker: each claims its row first, so a second delivery does nothing twice."""

from django.tasks import task

from codecourier.models import Notification

from . import fleet, sizes
from .models import Build, Checkpoint, PullRequest, Sandbox
from .publishing import pulls


@task
def advance_sandbox(pk: int) -> None:
    """Bring a sandbox forward."""
    with Sandbox.claim(pk) as sandbox:
        if sandbox:
            fleet.advance(sandbox)


@task
def advance_build(pk: int) -> None:
    """Bring the building of a template forward."""
    with Build.claim(pk) as build:
        if build:
            sizes.advance(build)


@task
def advance_pull_request(pk: int) -> None:
    """Bring a branch to the remote, or a pull request up to date."""
    with PullRequest.claim(pk) as row:
        if row:
            pulls.advance(row)


@task
def publish_checkpoint(pk: int) -> None:
    """Work that was saved goes on to where the sandbox's work goes."""
    checkpoint = Checkpoint.objects.filter(pk=pk).first()
    if checkpoint:
        pulls.follow(checkpoint)


@task
def tell_pull_request(pk: int, status: str) -> None:
    """Tell whoever asked for it what became of the work at the remote; told once."""
    row = PullRequest.objects.select_related("created_by", "project", "sandbox").filter(pk=pk).first()
    if row is None or row.created_by is None or status not in pulls.NEWS:
        return
    level, words = pulls.NEWS[PullRequest.Status(status)]
    Notification.tell(
        row.created_by,
        f"pull-request-{pk}-{status}-{row.wanted_commit if level == Notification.Level.ERROR else ''}",
        words.format(row=row),
        level=level,
        project=row.project,
        url=f"/p/{row.project.slug}/sandboxes/{row.sandbox_id}/",
    )


@task
def tell_end(pk: int) -> None:
    """Tell its maker that a sandbox ended otherwise than asked; told once, however often it is delivered."""
    sandbox = Sandbox.objects.select_related("created_by", "project").filter(pk=pk).first()
    if sandbox is None or sandbox.created_by is None:
        return
    Notification.tell(
        sandbox.created_by,
        f"sandbox-{pk}-end",
        f"{sandbox}: {sandbox.detail}",
        level=Notification.Level.ERROR if sandbox.status == Sandbox.Status.ERROR else Notification.Level.WARNING,
        project=sandbox.project,
        url=f"/p/{sandbox.project.slug}/sandboxes/{pk}/",
    )
