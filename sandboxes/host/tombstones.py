"""Why sandboxes ended, kept for a day: our addition to E2B's API."""

import json
import time
from pathlib import Path
from typing import Any

from .record import Record, write_atomically

KEPT_SECONDS = 24 * 3600


class Tombstones:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def write(self, record: Record, oom_kills: int) -> None:
        now = time.time()
        seconds = now - record.started_at if record.started_at else 0.0
        facts = {"reason": record.reason, "at": now, "seconds": round(seconds, 3), "oomKills": oom_kills}
        write_atomically(self.folder / f"{record.id}.json", json.dumps(facts))

    def read(self, sandbox_id: str) -> dict[str, Any] | None:
        """What is written, None for a sandbox that never was or ended more than a day ago."""
        if not sandbox_id.isalnum():
            return None
        try:
            facts: dict[str, Any] = json.loads((self.folder / f"{sandbox_id}.json").read_text())
        except (OSError, ValueError):
            return None
        return facts

    def forget_old(self) -> None:
        limit = time.time() - KEPT_SECONDS
        for path in self.folder.glob("*.json"):
            if path.stat().st_mtime < limit:
                path.unlink(missing_ok=True)
