"""Short steps for the worker: each claims its row first, so a second delivery does nothing twice."""

from django.tasks import task

from . import fleet
from .models import Sandbox


@task
def advance_sandbox(pk: int) -> None:
    """Bring a sandbox forward."""
    with Sandbox.claim(pk) as sandbox:
        if sandbox:
            fleet.advance(sandbox)
