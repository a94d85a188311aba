"""The folder of programs that every sandbox of a host sees."""

from collections.abc import Iterator
from pathlib import Path

import e2b
import pytest

from tests.host.hosts import HostProcess, eventually, pooled


@pytest.fixture
def equipped(tmp_path: Path) -> Iterator[HostProcess]:
    """A host of its own whose folder of programs is not there yet."""
    host = HostProcess(tmp_path / "state", "--tools", str(tmp_path / "tools"), "--pool", "1").start()
    yield host
    host.stop()
    host.sweep()


def install(folder: Path, name: str) -> None:
    """A program, renamed into place with its folder as an installation is."""
    fresh = folder / ".fresh" / "bin"
    fresh.mkdir(parents=True)
    (fresh / name).write_text(f"#!/bin/sh\necho this is {name}\n")
    (fresh / name).chmod(0o755)
    fresh.parent.rename(folder / f"{name}-1.0")


def test_programs_are_seen_also_by_sandboxes_that_were_there_before_them(equipped: HostProcess, tmp_path: Path) -> None:
    eventually(lambda: pooled(equipped))
    sandbox = equipped.create()
    install(tmp_path / "tools", "greet")
    assert sandbox.commands.run("/opt/tools/greet-1.0/bin/greet").stdout == "this is greet\n"
    later = equipped.create()
    assert later.commands.run("/opt/tools/greet-1.0/bin/greet").stdout == "this is greet\n"


def test_no_sandbox_can_change_the_programs_of_all(equipped: HostProcess, tmp_path: Path) -> None:
    install(tmp_path / "tools", "greet")
    sandbox = equipped.create()
    for attempt in ("echo worse > /opt/tools/greet-1.0/bin/greet", "rm -r /opt/tools/greet-1.0", "touch /opt/tools/x"):
        with pytest.raises(e2b.CommandExitException, match="Read-only file system"):
            sandbox.commands.run(attempt)
    assert (tmp_path / "tools" / "greet-1.0" / "bin" / "greet").read_text().endswith("echo this is greet\n")
