"""Short steps for the worker: each claims its row first, so a second delivery does nothing twice."""

from django.tasks import task

from codecourier.models import Notification

from . import fleet, sizes
from .models import Build, Sandbox


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
