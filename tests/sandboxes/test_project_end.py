"""A project ends after its machines."""

from collections.abc import Callable

from django.utils import timezone

from codecourier import registries
from codecourier.models import Project, User
from sandboxes import fleet
from sandboxes.models import Sandbox, Template


def test_machines_are_stopped_before_their_project_may_go(
    project: Project, owner: User, template: Template, work: Callable[[], int]
) -> None:
    sandbox = fleet.launch(project, owner, template=template)
    says = [said for hold in registries.holds if (said := hold(project))]
    assert says == ["1 sandbox is being stopped. Delete the project again in a few seconds."]
    sandbox.refresh_from_db()
    assert sandbox.wanted == "kill"
    Sandbox.objects.update(released_at=timezone.now())
    assert not any(hold(project) for hold in registries.holds)
