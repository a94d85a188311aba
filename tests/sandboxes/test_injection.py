"""What a persona brings arrives in a real machine, outside the repository."""

from collections.abc import Callable

from codecourier.models import Project, User
from personas import library
from personas.models import Asset, Persona
from sandboxes import e2b
from sandboxes.models import Sandbox
from tests import faults


def test_scripts_are_on_the_path_and_the_rest_is_named(
    provider: faults.Faults,
    project: Project,
    owner: User,
    launch: Callable[..., Sandbox],
    work: Callable[[], int],
) -> None:
    persona = Persona.objects.create(project=project, name="Ann", tool="script")
    for kind, name, text in [("script", "probe", "#!/bin/sh\necho probed"), ("command", "tidy", "Tidy up.")]:
        asset = Asset.objects.create(project=project, kind=kind, name=name)
        library.save(asset, owner, {asset.main: text.encode()}, 0)
        library.publish(asset, owner)
        persona.assets.add(asset)
    sandbox = launch(persona=persona)
    work()
    sandbox.refresh_from_db()
    assert sandbox.status == "running", sandbox.detail
    machine = e2b.machine_of(sandbox)
    assert machine.run("cd project && probe && git status --porcelain", "try it") == "probed\n"
    assert sandbox.briefing["undelivered"] == [["/tidy", "A bash script reads no instructions."]]
