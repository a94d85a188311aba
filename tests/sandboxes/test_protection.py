"""A session that only looks at a repository can't change it, and has nothing to save."""

from collections.abc import Callable
from pathlib import Path

import pytest

from codecourier.models import Project
from sandboxes import e2b, fleet, jobs, protection
from sandboxes.models import Kind, Sandbox
from tests.faults import Faults
from tests.sandboxes.repositories import make
from tests.sandboxes.test_checkpoints import run, shell

Launch = Callable[..., Sandbox]
Look = Callable[[], None]


@pytest.mark.parametrize("kind", [Kind.ISSUE, Kind.ANSWERING])
def test_the_clone_of_such_a_session_is_read_only_and_never_saved(
    provider: Faults, launch: Launch, look: Look, tmp_path: Path, kind: str
) -> None:
    sandbox = run(launch(repository_url=str(make(tmp_path / "origin", a__txt="one\n")), kind=kind), look)
    assert sandbox.phases.get(name="inject").detail == "clone read-only"
    said = shell(
        sandbox, "cd ~/project && git status --porcelain && { echo two > a.txt; touch b.txt; rm a.txt; } 2>&1 || true"
    )
    assert said.count("Read-only file system") >= 2
    assert shell(sandbox, "cat ~/project/a.txt; echo yes > ~/cache; cat ~/cache") == "one\nyes\n"
    fleet.stop(sandbox, None)
    look()
    sandbox.refresh_from_db()
    assert (sandbox.status, sandbox.checkpoints.count()) == ("killed", 0)


def test_a_machine_that_can_not_be_protected_is_not_used(
    provider: Faults, launch: Launch, look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = run(launch(repository_url=str(make(tmp_path / "origin", a__txt="one\n"))), look)
    monkeypatch.setattr(jobs, "PROJECT", "/home/user/elsewhere")
    with pytest.raises(e2b.Refused, match="could not be made read-only"):
        protection.protect(sandbox)


def test_in_the_cloud_the_machine_s_root_does_it(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Machine:
        """Of the cloud."""

        id = "m"

        def run_as_root(self, command: str, what: str, seconds: float) -> None:
            asked.append(command)

    monkeypatch.setattr(e2b, "provider_of", lambda project: e2b.Provider(e2b.CLOUD, "key"))
    monkeypatch.setattr(e2b, "machine_of", lambda sandbox: Machine())
    protection.protect(Sandbox(project=project))
    (script,) = asked
    assert "mount -o remount,bind,ro /home/user/project" in script
    assert "chmod ug-s {} +" in script
    assert e2b.Refused.final
