"""One remote's copy on the portal, and how it is brought up to date without holding up a worker."""

import fcntl
import hashlib
import ipaddress
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings
from django.utils import timezone

from codecourier import git, leash, remotes, repositories
from codecourier.models import Project

from . import fetch

# The copy of most remotes is up to date within this; a longer fetch is waited for without a worker.
PATIENCE = 2.0
SECONDS = 480.0
# As much of what git says as a page shows.
LOG_BYTES = 20_000
# A remote that is too large is not tried again for so long.
GIVE_UP = timedelta(days=1)
# As of what comes from machines, every object is checked: the portal shows and packs them.
CHECKED = [
    word
    for setting in ("fetch.fsckObjects=true", *(f"fetch.fsck.{slip}=ignore" for slip in git.FORGIVEN))
    for word in ("-c", setting)
]
TOO_LARGE = "it is larger than"
CHECKOUT = Path(__file__).resolve().parents[2]
# The fetches that this process began, kept so that it hears of their ends.
begun: dict[Path, "subprocess.Popen[bytes]"] = {}


@dataclass(frozen=True)
class Stand:
    """How far a fetch is. `failed` is what git said of one that went wrong."""

    done: bool
    log: str = ""
    failed: str = ""


class Mirror:
    """The copy that a project has of one remote."""

    def __init__(self, project: Project, url: str) -> None:
        self.project, self.url = project, url
        name = hashlib.sha256(url.encode()).hexdigest()[:16]
        self.path: Path = folder_of(project.pk) / f"{name}.git"

    def beside(self, kind: str) -> Path:
        """A neighbour of its folder: lock, log, fetched, failed or readers."""
        return self.path.with_suffix(f".{kind}")

    @property
    def there(self) -> bool:
        """Whether it was ever fetched."""
        return fetch.fetched(self.beside("fetched")) > 0

    @contextmanager
    def read(self) -> Iterator[None]:
        """While its packs stay where they are; new ones may come."""
        with self.beside("readers").open("w") as readers:
            fcntl.flock(readers, fcntl.LOCK_SH)
            yield

    @property
    def head(self) -> str:
        """The text of its HEAD."""
        return (self.path / "HEAD").read_text()

    def refs(self) -> dict[str, str]:
        """Commits and tags by the full names of the remote's branches and tags."""
        said = git.run(["for-each-ref", "--format=%(objectname) %(refname)", "refs/heads", "refs/tags"], at=self.path)
        rows = [row.split(" ", 1) for row in said.decode(errors="surrogateescape").splitlines()]
        return {name: value for value, name in rows}

    def packs(self) -> list[Path]:
        """The files that hold its objects, an index behind its pack."""
        found = sorted((self.path / "objects" / "pack").glob("*.pack"))
        return [file for pack in found for file in (pack, pack.with_suffix(".idx"))]

    def bring(self, since: datetime) -> Stand:
        """How it stands; a fetch is begun when none began `since` and none has failed since then."""
        if self._stands(since):
            return Stand(True)
        if not self._at_work():
            if failed := self._failure(since):
                return Stand(False, self.log(), failed)
            options = guarded(self.url)
            if options is None:
                return Stand(False, "", "its address is not a public one")
            self._begin(options, since)
        return Stand(self._stands(since), self.log())

    def _stands(self, since: datetime) -> bool:
        return fetch.fetched(self.beside("fetched")) >= since.timestamp()

    def _at_work(self) -> bool:
        """Whether somebody fetches: a process that we began, or one that has the lock."""
        ours = begun.get(self.path)
        if ours and ours.poll() is None:
            return True
        try:
            with self.beside("lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def _failure(self, since: datetime) -> str:
        """What went wrong with the last fetch since then, empty when there was none."""
        note, ours = self.beside("failed"), begun.pop(self.path, None)
        try:
            said, at = note.read_text(), note.stat().st_mtime
            if at >= since.timestamp() or (TOO_LARGE in said and at > (timezone.now() - GIVE_UP).timestamp()):
                return said.strip() or "git did not say why"
        except FileNotFoundError:
            # It failed before it could say so.
            pass
        if ours and ours.returncode and not self._stands(since):
            return self.log().strip()[-300:] or "git did not say why"
        return ""

    def _begin(self, options: list[str], since: datetime) -> None:
        """Start it, and give it a moment; it ends with this process. The key goes through a pipe."""
        credential, local = remotes.credential(self.project, self.url), repositories.is_local(self.url)
        url = str(repositories.local_path(self.url)) if local else self.url
        order = {
            "path": str(self.path), "url": url, "local": local, "since": since.timestamp(),
            "options": [*CHECKED, *options, *(credential.options if credential else ())],
            "env": git.environment() | (credential.env if credential else {}),
            "most": settings.CHECKPOINT_BYTES, "seconds": SECONDS,
        }  # fmt: skip
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        leashed = [sys.executable, "-I", "-S", leash.__file__, str(os.getpid())]
        with self.beside("log").open("wb") as output:
            process = subprocess.Popen(
                [*leashed, sys.executable, "-I", "-S", fetch.__file__],
                cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        begun[self.path] = process
        if process.stdin:
            with process.stdin as told:
                told.write(json.dumps(order).encode())
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            return

    def log(self) -> str:
        """The end of what the last fetch said, without the lines that others were written over."""
        try:
            said = self.beside("log").read_bytes()[-LOG_BYTES:].decode(errors="replace")
        except FileNotFoundError:
            return ""
        return "".join(f"{line.rstrip().rpartition(chr(13))[2]}\n" for line in said.split("\n") if line.strip())


def folder_of(project_id: int) -> Path:
    """Where all copies of a project are."""
    return Path(settings.STATE / "repositories" / f"{project_id}.remotes")


def guarded(url: str) -> list[str] | None:
    """Options that keep git at the address; None for one that only a machine may speak to, by its own rules.

    A name that leads into the portal's own network would show there what no machine may reach. It is looked up once,
    and git is held to what was found.
    """
    if settings.ALLOW_LOCAL_REPOSITORIES:
        return []
    if not re.match("https://", url):
        return None
    host, port = urlsplit(url).hostname or "", urlsplit(url).port or 443
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except OSError:
        return None
    if not found or not all(ipaddress.ip_address(address).is_global for address in found):
        return None
    pinned = ",".join(sorted(f"[{address}]" if ":" in address else address for address in found))
    return ["-c", "http.followRedirects=false", "-c", f"http.curloptResolve={host}:{port}:{pinned}"]
