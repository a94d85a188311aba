"""Copies of every spool, read from outside while its machine lives: what the stored output is measured by.

The product is not asked: the files are read through /proc of each sandbox's first process, which needs root.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from sandboxes.e2b import HOME

LOOK_SECONDS = 0.05
BLOCK = 4 * 2**20


class Keeper(threading.Thread):
    """Copies whatever is new in every spool into `folder`, one file a job, until `close`."""

    def __init__(self, host_state: Path, folder: Path) -> None:
        super().__init__(name="spools", daemon=True)
        self.host_state, self.folder = host_state, folder
        self.over = threading.Event()
        folder.mkdir()

    def run(self) -> None:
        """Look again and again; a machine that goes away while it is read is simply gone."""
        while not self.over.wait(LOOK_SECONDS):
            for spool in self.spools():
                with suppress(OSError):
                    self.copy(spool)

    def close(self) -> None:
        """No more copies."""
        self.over.set()
        self.join()

    def spools(self) -> Iterator[Path]:
        """Of all machines that live."""
        for record in (self.host_state / "sandboxes").glob("*/record.json"):
            with suppress(OSError, ValueError):
                pid = json.loads(record.read_text())["init"][0]
                home = Path(f"/proc/{pid}/root{HOME}/.courier/jobs")
                yield from home.glob("*/spool") if pid else ()

    def copy(self, spool: Path) -> None:
        """Append what the copy doesn't have yet."""
        mine = self.folder / spool.parent.name
        have = mine.stat().st_size if mine.exists() else 0
        with spool.open("rb") as source, mine.open("ab") as target:
            source.seek(have)
            while block := source.read(BLOCK):
                target.write(block)

    def lines(self, job: int) -> list[bytes]:
        """The whole lines of a job's copy; none when its machine was never seen."""
        path = self.folder / str(job)
        return path.read_bytes().rpartition(b"\n")[0].splitlines() if path.exists() else []

    def is_whole(self, job: int) -> bool:
        """Whether the exit record has been copied."""
        lines = self.lines(job)
        return bool(lines) and b'"exit":' in lines[-1]
