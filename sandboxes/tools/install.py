"""One installation: fetched beside its place, tried, then renamed into it."""

import errno
import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from . import fetch
from .errors import InstallError

if TYPE_CHECKING:
    from sandboxes.agents.base import Package

# Where sandboxes of the local host find the root.
MOUNTED = "/opt/tools"
# How long a program may take to say its version: on a cold disk, for the largest of them.
VERSION_SECONDS = 120.0
# Run by whatever Node the machine has first on its PATH: ours, in a sandbox.
LAUNCHER = """#!/bin/sh
exec node "$(dirname "$(readlink -f "$0")")/../{path}" "$@"
"""

type Say = Callable[[str], None]


@dataclass(frozen=True)
class Place:
    """Where a tool belongs, finished or not."""

    root: Path
    tool: str
    package: "Package"

    @property
    def name(self) -> str:
        """Its folder's name."""
        return f"{self.tool}-{self.package.version}"

    @property
    def folder(self) -> Path:
        """Exists once the tool has been installed and tried."""
        return self.root / self.name

    def beside(self, kind: str) -> Path:
        """A hidden neighbour: new, lock, log or failed."""
        return self.root / f".{self.name}.{kind}"

    @property
    def links(self) -> dict[str, str]:
        """Programs by name, as a sandbox sees them."""
        return {program: f"{MOUNTED}/{self.name}/bin/{program}" for program in self.package.programs}


def install(place: Place, say: Say) -> bool:
    """Bring the tool here; False when it is here already. Raises InstallError with what to do.

    Of several calls at once, in whatever processes, one installs and the others wait for it. `say` gets npm's lines.
    """
    if place.folder.is_dir():
        return False
    with _alone(place):
        if place.folder.is_dir():
            return False
        place.beside("failed").unlink(missing_ok=True)
        try:
            _make(place, say)
        except InstallError as error:
            with suppress(OSError):
                place.beside("failed").write_text(str(error))
            raise
        return True


@contextmanager
def _alone(place: Place) -> Iterator[None]:
    """The lock of this tool and version, which the kernel gives back should this process die."""
    try:
        place.root.mkdir(parents=True, exist_ok=True)
        # Sandboxes read it as users of their own.
        place.root.chmod(0o755)
        lock = place.beside("lock").open("w")
    except OSError as error:
        raise InstallError(f"The folder for tools, {place.root}, can't be written: {error.strerror}.") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make(place: Place, say: Say) -> None:
    fresh = place.beside("new")
    shutil.rmtree(fresh, ignore_errors=True)
    say(f"Installing {place.package.npm} {place.package.version}")
    try:
        fresh.mkdir()
        fetch.fetch(place.package, fresh, say)
        _write_programs(place.package, fresh)
        say(f"{place.tool} says {_check(place, fresh)}")
        fresh.rename(place.folder)
    except OSError as error:
        raise InstallError(_explain(place, error)) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _explain(place: Place, error: OSError) -> str:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"{place.tool} could not be installed: {fetch.FULL}"
    return f"{place.tool} could not be installed into {place.root}: {error.strerror or error}."


def _write_programs(package: "Package", fresh: Path) -> None:
    """`bin/<program>` for each: a link, or a script for what Node runs."""
    (fresh / "bin").mkdir()
    for name, pattern in package.programs.items():
        target = next(iter(sorted((fresh / "node_modules").glob(pattern))), None)
        if target is None:
            raise InstallError(f"{package.npm} {package.version} has no {pattern} for this machine's processor.")
        program, path = fresh / "bin" / name, target.relative_to(fresh)
        if package.pack:
            program.write_text(LAUNCHER.format(path=path))
            program.chmod(0o755)
        else:
            program.symlink_to(Path("..") / path)


def _check(place: Place, fresh: Path) -> str:
    """The version that the program says, in an empty home; InstallError when it is another or none."""
    program = fresh / "bin" / next(iter(place.package.programs))
    with tempfile.TemporaryDirectory(dir=fresh) as home:
        try:
            done = subprocess.run(
                [program, "--version"],
                env=fetch.environment() | {"HOME": home},
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                timeout=VERSION_SECONDS, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            text = f"{place.tool} was fetched but did not say its version within {VERSION_SECONDS:.0f} s."
            raise InstallError(text) from error
    said = done.stdout.strip()
    if done.returncode or not re.search(place.package.says, said):
        raise InstallError(
            f"{place.tool} was fetched but does not work here: asked for its version, {place.package.version}, it "
            f"said {said[-300:] or os.strerror(errno.ENOEXEC)!r} (exit status {done.returncode})."
        )
    return said.splitlines()[-1]
