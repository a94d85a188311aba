"""Brings the copy of a remote up to date: `python -I -S fetch.py`, told what to do in JSON on stdin.

    {"path": folder of the bare repository, "url": text, "options": [of git], "env": {for git}, "since": unix time,
     "most": bytes that it may have, "seconds": time that it may take, "local": whether the url is a folder's path}

Beside the folder stand `lock`, held meanwhile; `fetched`, the time at which the last fetch that went well began; and
`failed`, what git said of one that did not. A process of its own and standard library only: it is begun often, mostly
finds nothing new, and no worker is held up by a large one.
"""

import fcntl
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ASKED = ("HEAD", "refs/heads/*", "refs/tags/*")
TAKEN = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
# Whoever the folder belongs to: it is only read.
LOCAL = "--upload-pack=git -c safe.directory=* upload-pack"
# Where the commit is kept that a remote without a current branch has checked out.
DETACHED = "refs/detached/HEAD"
# More packs than this make every look for an object slower.
PACKS = 20
TAIL = 2000
TICK = 0.2
COMMIT = re.compile(r"[0-9a-f]{40}\Z")


class Failed(Exception):
    """The copy is not up to date; the message is what git said."""


class Fetch:
    """One order."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order
        self.path = Path(order["path"])
        self.until = time.monotonic() + float(order["seconds"])
        self.how = [LOCAL] if order["local"] else []

    def beside(self, kind: str) -> Path:
        """A neighbour of the folder."""
        return self.path.with_suffix(f".{kind}")

    def git(self, *words: str, watch: Callable[[], None] = lambda: None) -> str:
        """What a command prints; its progress goes to our stderr. Failed when it fails, or `watch` says so."""
        command = ["git", "-c", "safe.directory=*", *self.order["options"], "-C", str(self.path), *words]
        with tempfile.TemporaryFile() as printed, subprocess.Popen(
            command, env=self.order["env"], stdin=subprocess.DEVNULL, stdout=printed, stderr=subprocess.PIPE
        ) as process:  # fmt: skip
            said = b""
            try:
                while piece := os.read(process.stderr.fileno(), 4096) if process.stderr else b"":
                    sys.stderr.buffer.write(piece)
                    sys.stderr.buffer.flush()
                    said = (said + piece)[-TAIL:]
                    watch()
                process.wait()
            except BaseException:
                process.kill()
                raise
            printed.seek(0)
            if process.returncode:
                raise Failed(said.decode(errors="replace"))
            return printed.read().decode(errors="surrogateescape")

    def run(self) -> None:
        """All of it, alone with the folder."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self.beside("lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if fetched(self.beside("fetched")) >= self.order["since"]:
                return
            began = time.time()
            try:
                self.bring()
            except (Failed, OSError) as error:
                self.beside("failed").write_text(str(error))
                raise
            note(self.beside("fetched"), f"{began:.6f}")

    def bring(self) -> None:
        """Ask what there is, and fetch when that is not what is here."""
        self.make()
        head, refs = self.there()
        if refs != self.here():
            extra = [f"+HEAD:{DETACHED}"] if COMMIT.match(head) else []
            progress = ["--progress", "--prune", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance"]
            self.git("fetch", *self.how, *progress, "--", self.order["url"], *TAKEN, *extra, watch=self.within_bounds)
        if COMMIT.match(head):
            self.git("update-ref", "--no-deref", "HEAD", head)
        elif head:
            self.git("symbolic-ref", "HEAD", head)
        self.tidy()

    def make(self) -> None:
        """The folder, without what a killed fetch has left."""
        if not (self.path / "HEAD").exists():
            self.path.mkdir(parents=True, exist_ok=True)
            # Whoever a machine's processes are on a host that shows it to them, they may read it.
            self.git("init", "-q", "--bare", "--shared=0644", "-b", "main")
            for setting in ("gc.auto=0", "maintenance.auto=false", "transfer.unpackLimit=1"):
                self.git("config", *setting.split("="))
        for unfinished in self.path.glob("objects/pack/tmp_*"):
            unfinished.unlink(missing_ok=True)

    def there(self) -> tuple[str, dict[str, str]]:
        """What the remote's HEAD is, a branch's full name or a commit, and its refs."""
        said = self.git("ls-remote", *self.how, "--symref", "--", self.order["url"], *ASKED, watch=self.within_bounds)
        rows = [row.split("\t", 1) for row in said.splitlines() if "\t" in row]
        heads = [value.removeprefix("ref: ") for value, name in rows if name == "HEAD"]
        refs = {name: value for value, name in rows if name.startswith("refs/") and not name.endswith("^{}")}
        head = heads[0] if heads else ""
        return head, refs | ({DETACHED: head} if COMMIT.match(head) else {})

    def here(self) -> dict[str, str]:
        """The refs of the copy."""
        rows = self.git("for-each-ref", "--format=%(objectname)\t%(refname)").splitlines()
        return {name: value for value, name in (row.split("\t", 1) for row in rows)}

    def within_bounds(self) -> None:
        """Failed when it takes too long or grows too large."""
        if time.monotonic() > self.until:
            raise Failed(f"it took longer than {self.order['seconds']:.0f} seconds")
        size = 0
        for file in self.path.glob("objects/pack/*"):
            try:
                size += file.stat().st_size
            except FileNotFoundError:
                continue
        if size > self.order["most"]:
            raise Failed(f"it is larger than {self.order['most'] // 2**20} MB")

    def tidy(self) -> None:
        """Few packs, unless somebody reads them just now: nothing is ever dropped, checkpoints may build upon it."""
        if len(list(self.path.glob("objects/pack/*.pack"))) <= PACKS:
            return
        with self.beside("readers").open("w") as readers:
            try:
                fcntl.flock(readers, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            self.git("repack", "-q", "-d", "--geometric=2")


def fetched(path: Path) -> float:
    """When the last fetch that went well began; 0 without one."""
    try:
        return float(path.read_text())
    except (FileNotFoundError, ValueError):
        return 0.0


def note(path: Path, text: str) -> None:
    """Write it whole or not at all."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_text(text)
    fresh.replace(path)


if __name__ == "__main__":
    try:
        Fetch(json.load(sys.stdin)).run()
    except (Failed, OSError) as failed:
        sys.exit(str(failed))
