"""Files in a running machine: looked at, taken, brought, packed; always in the project folder and always bounded.

Paths are text relative to the project folder and are resolved in the machine (`inside.py`, which is never imported
here). A name that is no UTF-8 is shown with its bytes escaped and can't be opened here.
"""

import base64
import json
import mimetypes
import re
import secrets
import shlex
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from django.conf import settings

from sandboxes import e2b, output
from sandboxes.models import Sandbox, Wanted

SOURCE = Path(__file__).with_name("inside.py").read_text()
SPOOL = f"{e2b.HOME}/.courier/files"
ENTRIES = 2000
SHOWN_BYTES, SLICE_BYTES = 1024 * 1024, 8 * 1024 * 1024
PACK_BYTES, PACK_FILES, PACK_SECONDS = 512 * 1024 * 1024, 50_000, 120
# What a browser may show as an image, by the first bytes (https://mimesniff.spec.whatwg.org/#image-type-pattern-matching-algorithm).
IMAGES = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF....WEBPVP", re.DOTALL), "image/webp"),
    (re.compile(rb"....ftypavi[fs]", re.DOTALL), "image/avif"),
    (re.compile(rb"\x00\x00\x01\x00"), "image/x-icon"),
)


class Refused(Exception):
    """It can't be done; `str()` is a sentence that says why and what to do."""


@dataclass(frozen=True)
class Entry:
    """One name in a folder. `path` is empty for one that can't be opened here."""

    name: str
    path: str
    kind: str  # folder, file or other
    size: int | None
    changed: datetime | None
    target: str  # where a link leads, as it is written
    inside: bool


@dataclass(frozen=True)
class Folder:
    """A folder's first entries, and how many there are besides."""

    path: str
    entries: list[Entry]
    more: int


@dataclass(frozen=True)
class File:
    """One file with its first SHOWN_BYTES; `real` is its absolute path with every link resolved."""

    path: str
    real: str
    size: int
    changed: datetime
    head: bytes
    regular: bool

    @property
    def name(self) -> str:
        """The last part of its path."""
        return PurePosixPath(self.path).name

    @property
    def image(self) -> str:
        """The type of an image that browsers show safely, else empty."""
        return next((kind for pattern, kind in IMAGES if pattern.match(self.head)), "")

    @property
    def binary(self) -> bool:
        """Whether it is no text."""
        return b"\0" in self.head

    @property
    def text(self) -> str:
        """Its beginning as text; what is no UTF-8 is marked."""
        return self.head.decode(errors="replace")

    @property
    def cut(self) -> bool:
        """Whether there is more than is shown."""
        return self.size > len(self.head)


def require_awake(sandbox: Sandbox) -> None:
    """Refused unless the machine runs and is to run: reaching for it would wake a paused one."""
    if sandbox.final or sandbox.wanted == Wanted.KILL:
        raise Refused("The machine of this sandbox is gone, and its files with it.")
    if sandbox.status == Sandbox.Status.CREATING:
        raise Refused("The machine is being made. Its files are here when it runs.")
    if sandbox.status != Sandbox.Status.RUNNING or sandbox.wanted != Wanted.RUN:
        raise Refused("The sandbox sleeps. Wake it to see its files.")


def ask(sandbox: Sandbox, verb: str, what: str, *, seconds: float = 30, **words: Any) -> dict[str, Any]:
    """One verb of `inside.py`. Raises Refused with its sentence, e2b.ProviderError."""
    require_awake(sandbox)
    command = shlex.join(["python3", "-I", "-S", "-c", SOURCE, verb, json.dumps(words)])
    said = e2b.machine_of(sandbox).run(command, what, seconds=seconds)
    try:
        answer: dict[str, Any] = json.loads(said.splitlines()[-1])
    except (ValueError, IndexError) as error:
        raise Refused("The machine gave an answer that makes no sense. Look with the terminal.") from error
    if "error" in answer:
        raise Refused(answer["error"])
    return answer


def look(sandbox: Sandbox, path: str, *, hidden: bool = False, head: int = SHOWN_BYTES) -> Folder | File:
    """What is at a path. Raises Refused, e2b.ProviderError."""
    path = path.strip("/")
    answer = ask(sandbox, "look", "look at the files", path=path, hidden=hidden, most=ENTRIES, head=head)
    if answer["kind"] == "folder":
        return Folder(path, [_entry(path, found) for found in answer["entries"]], answer["more"])
    return File(
        path=path,
        real=answer["real"],
        size=answer["size"],
        changed=datetime.fromtimestamp(answer["changed"], UTC),
        head=base64.b64decode(answer["head"]),
        regular=answer["kind"] == "file",
    )


def _entry(folder: str, found: dict[str, Any]) -> Entry:
    shown = readable(found["name"])
    path = f"{folder}/{found['name']}".lstrip("/") if shown == found["name"] and found["inside"] else ""
    changed = datetime.fromtimestamp(found["changed"], UTC) if found["changed"] is not None else None
    return Entry(shown, path, found["kind"], found["size"], changed, readable(found["target"]), found["inside"])


def readable(name: str) -> str:
    """A name for people: bytes that are no UTF-8 and characters that can't be seen are escaped."""
    escaped = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in escaped)


def take(sandbox: Sandbox, path: str) -> File:
    """A regular file that is to be sent. Raises Refused, e2b.ProviderError."""
    found = look(sandbox, path, head=64)
    if isinstance(found, Folder):
        raise Refused("This is a folder. Download it as a zip.")
    if not found.regular:
        raise Refused("This is a pipe, a socket or a device: it has no end. Use the terminal.")
    return found


def content_type(file: File) -> str:
    """For a download: by its name, as nothing of it runs."""
    return mimetypes.guess_type(file.name)[0] or "application/octet-stream"


async def stream(sandbox: Sandbox, real: str, *, once: bool = False) -> AsyncIterator[bytes]:
    """The bytes of a file by its real path; with `once` it is removed after, also after a half download."""
    provider = await output.in_thread(e2b.provider_of, sandbox.project)
    machine = await e2b.attach(provider, sandbox.provider_id)
    try:
        async for piece in machine.stream(real, "read the file"):
            yield piece
    finally:
        if once:
            await machine.run(shlex.join(["rm", "-f", real]), "remove the packed folder")


def put(
    sandbox: Sandbox, folder: str, name: str, piece: bytes, *, upload: str, offset: int, last: bool, replace: bool
) -> bool:
    """One slice of an upload; False when there is a file of that name and it isn't to be replaced.

    `upload` is 32 hexadecimal digits of the browser's choice. Raises Refused, e2b.ProviderError.
    """
    if not re.fullmatch("[0-9a-f]{32}", upload):
        raise Refused("The upload has no proper mark. Reload the page and try again.")
    require_awake(sandbox)
    place = f"{SPOOL}/{secrets.token_hex(16)}"
    e2b.machine_of(sandbox).write({place: piece}, "bring the file into the machine")
    words: dict[str, Any] = {"folder": folder, "name": name, "offset": offset, "last": last, "replace": replace}
    words |= {"piece": place, "part": upload, "most": settings.UPLOAD_BYTES}
    return "exists" not in ask(sandbox, "append", "bring the file into the machine", **words)


def pack(sandbox: Sandbox, path: str) -> str:
    """Make a zip of a folder; its absolute path in the machine. Raises Refused, e2b.ProviderError."""
    words: dict[str, Any] = {
        "path": path,
        "name": f"{secrets.token_hex(16)}.zip",
        "most": PACK_BYTES,
        "files": PACK_FILES,
    }
    return str(ask(sandbox, "pack", "pack the folder", seconds=PACK_SECONDS, **words)["path"])


def rename(sandbox: Sandbox, path: str, name: str) -> None:
    """Another name in the same folder. Raises Refused, e2b.ProviderError."""
    ask(sandbox, "rename", "rename it", path=path, name=name)


def remove(sandbox: Sandbox, path: str) -> None:
    """A file, or a folder with all that is in it. Raises Refused, e2b.ProviderError."""
    ask(sandbox, "remove", "remove it", path=path)
