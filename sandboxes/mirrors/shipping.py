"""Handing a repository to a machine: files of the portal's, as they are, below one folder there.

What is there already is not sent again, so a step that was cut short goes on where it was. Long files go in pieces
where the provider is far away; the machine puts them together (`JOIN`).
"""

import io
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sandboxes import e2b
from sandboxes.models import Sandbox

logger = logging.getLogger(__name__)

# Of one look at a sandbox: the rest is sent at the next.
SECONDS = 60.0
# In the folder `$1`: a file's pieces become the file.
JOIN = """
for first in "$1"/objects/pack/*.0000; do
  if [ ! -e "$first" ]; then continue; fi
  whole="${first%.0000}"
  mv "$first" "$whole"
  for piece in "$whole".[0-9][0-9][0-9][0-9]; do
    if [ -e "$piece" ]; then cat "$piece" >> "$whole"; rm "$piece"; fi
  done
done
"""
CONFIG = b"[core]\n\trepositoryformatversion = 0\n\tbare = true\n"


@dataclass(frozen=True)
class Shipment:
    """A bare repository: its refs by their full names, where HEAD points, and the files of its packs.

    `borrowed` is a folder in the machine that has all objects but those of `made`. `made` are packs that were made for
    it and may differ the next time; `shallow` are commits without parents here.
    """

    refs: Mapping[str, str]
    head: str
    packs: Sequence[Path] = ()
    made: Sequence[Path] = ()
    shallow: bytes = b""
    borrowed: str = ""

    def texts(self) -> dict[str, bytes]:
        """Its small files."""
        rows = "".join(f"{commit} {name}\n" for name, commit in sorted(self.refs.items()))
        packed = rows.encode(errors="surrogateescape")
        files = {"HEAD": self.head.encode(), "config": CONFIG, "packed-refs": packed, "refs/.kept": b""}
        borrowed = f"{self.borrowed}\n".encode() if self.borrowed else b""
        return files | {
            name: data for name, data in (("shallow", self.shallow), ("objects/info/alternates", borrowed)) if data
        }


@dataclass(frozen=True)
class Piece:
    """A stretch of a file, under its own name in the machine."""

    name: str
    file: Path
    start: int
    size: int

    def open(self) -> BinaryIO:
        """Its bytes: a whole file's as they are read, a part's at once."""
        source = self.file.open("rb")
        if self.size == self.file.stat().st_size:
            return source
        with source:
            source.seek(self.start)
            return io.BytesIO(source.read(self.size))


def pieces(files: Sequence[Path], most: int) -> Iterator[Piece]:
    """Of all files, in their order; one of at most `most` bytes goes as it is."""
    for file in files:
        size = file.stat().st_size
        if size <= most:
            yield Piece(file.name, file, 0, size)
            continue
        for number, start in enumerate(range(0, size, most)):
            yield Piece(f"{file.name}.{number:04}", file, start, min(most, size - start))


def lend(folder: Path, sandbox: Sandbox, at: str) -> bool:
    """Have the local host show a folder of the portal's in the machine, read-only; False where that can't be."""
    provider, machine = e2b.provider_of(sandbox.project), e2b.machine_of(sandbox)
    if provider.name != e2b.LOCAL:
        return False
    try:
        machine.run(f"mkdir -p {at}", "make room for the repository")
        e2b.ask_host(provider, machine.id, "lend", {"path": at, "source": str(folder)}, "lend the repository")
        machine.run(f"ls {at}/pack > /dev/null", "see the repository")
    except (e2b.Refused, e2b.CommandFailed) as error:
        logger.info("Sandbox %s gets its repository sent: %s", sandbox.pk, error)
        return False
    return True


def ship(shipment: Shipment, machine: e2b.Machine, folder: str, most: int) -> bool:
    """Send what is not there yet; False when this look's time was over before all of it was."""
    place, until = f"{folder}/objects/pack", time.monotonic() + SECONDS
    there = present(machine, place)
    for piece in pieces([*shipment.packs, *shipment.made], most):
        if piece.file not in shipment.made:
            if there.get(piece.name) == piece.size:
                continue
            if time.monotonic() > until:
                return False
        with piece.open() as source:
            machine.send(f"{place}/{piece.name}", source, "hand over the repository")
    machine.write({f"{folder}/{name}": data for name, data in shipment.texts().items()}, "hand over the repository")
    return True


def present(machine: e2b.Machine, place: str) -> dict[str, int]:
    """Names and sizes of the files there."""
    said = machine.run(
        f"mkdir -p {place} && cd {place} && stat -c '%s %n' -- * 2>/dev/null || true", "look what is there"
    )
    rows = [row.split(" ", 1) for row in said.splitlines()]
    return {name: int(size) for size, name in rows}
