"""An installation that a boot waits for: begun in a process of its own, so that no worker is held up by it."""

import fcntl
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from codecourier import leash

from .install import Place

# As much of its log as a page shows.
LOG_BYTES = 20_000
# Of `agents.base.Package`, for the process that installs.
FIELDS = ("npm", "version", "programs", "says", "pack")
CHECKOUT = Path(__file__).resolve().parents[2]
# The installations that this process began, kept so that it hears of their ends.
begun: dict[Path, "subprocess.Popen[bytes]"] = {}


@dataclass(frozen=True)
class Progress:
    """How far an installation is. `failed` says why there will be none."""

    done: bool
    log: str
    failed: str = ""


def progress(place: Place, since: datetime) -> Progress:
    """How it stands; begun when nobody is at it and it has not failed `since`."""
    if place.folder.is_dir():
        return Progress(True, log(place))
    if not at_work(place):
        if said := failure(place, since):
            return Progress(False, log(place), said)
        begin(place)
    return Progress(False, log(place))


def at_work(place: Place) -> bool:
    """Whether somebody installs it: a process that we began, or one that has the lock."""
    ours = begun.get(place.folder)
    if ours and ours.poll() is None:
        return True
    try:
        with place.beside("lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def failure(place: Place, since: datetime) -> str:
    """Why the last attempt since then failed, empty when there was none."""
    note, ours = place.beside("failed"), begun.pop(place.folder, None)
    try:
        return note.read_text() if note.stat().st_mtime >= since.timestamp() else ""
    except FileNotFoundError:
        # It failed before it could say so.
        pass
    if ours and ours.returncode and not place.folder.is_dir():
        return f"{place.tool} could not be installed: {log(place).strip()[-300:] or 'it did not say why.'}"
    return ""


def begin(place: Place) -> None:
    """Start it; it ends with this process."""
    place.root.mkdir(parents=True, exist_ok=True)
    package = json.dumps({name: getattr(place.package, name) for name in FIELDS})
    leashed = [sys.executable, "-I", "-S", leash.__file__, str(os.getpid())]
    command = [sys.executable, "-m", "sandboxes.tools", str(place.root), place.tool, package]
    with place.beside("log").open("wb") as output:
        begun[place.folder] = subprocess.Popen(
            [*leashed, *command],
            cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip


def log(place: Place) -> str:
    """The end of what the last attempt said."""
    try:
        return place.beside("log").read_bytes()[-LOG_BYTES:].decode(errors="replace")
    except FileNotFoundError:
        return ""
