"""What is known about one sandbox, kept in a small file so that a new host process can take over."""

import json
import secrets
import string
import time
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

ALPHABET = string.ascii_lowercase + string.digits


class State(StrEnum):
    """`booting` and `pooled` belong to nobody yet, `dying` waits for its clean-up."""

    BOOTING = "booting"
    POOLED = "pooled"
    RUNNING = "running"
    PAUSED = "paused"
    DYING = "dying"


@dataclass
class Network:
    """Egress and ingress rules as E2B's API names them; `rules` is kept for later use."""

    allow_out: list[str] = field(default_factory=list)
    deny_out: list[str] = field(default_factory=list)
    allow_internet: bool | None = None
    allow_public_traffic: bool = True
    mask_request_host: str = ""
    rules: dict[str, Any] = field(default_factory=dict)


@dataclass
class Record:
    """One sandbox. Times are seconds since the epoch, sizes MiB. Holds secrets: file mode 0600."""

    id: str
    uid: int = 0
    state: State = State.BOOTING
    template: str = ""
    cpu: int = 0
    memory_mb: int = 0
    disk_mb: int = 0
    metadata: dict[str, str] = field(default_factory=dict)
    started_at: float = 0.0
    end_at: float = 0.0
    auto_pause: bool = False
    auto_resume: bool = False
    network: Network = field(default_factory=Network)
    access_token: str = ""
    traffic_token: str = ""
    control_secret: str = ""
    idempotency_key: str = ""
    request_digest: str = ""
    envd_version: str = ""
    outer: tuple[int, int] = (0, 0)
    init: tuple[int, int] = (0, 0)
    mounted: bool = False
    reason: str = ""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Raises OSError or ValueError for a file that is gone or broken."""
        values = json.loads(path.read_text())
        values["network"] = Network(**values["network"])
        values["state"] = State(values["state"])
        values["outer"], values["init"] = tuple(values["outer"]), tuple(values["init"])
        return cls(**values)

    def save(self, path: Path) -> None:
        write_atomically(path, json.dumps(asdict(self)))

    def expired(self) -> bool:
        return self.state is State.RUNNING and time.time() >= self.end_at


def write_atomically(path: Path, text: str) -> None:
    """Readable by the owner alone; a reader sees the old file or the new one, never a part."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    fresh.touch(mode=0o600)
    fresh.write_text(text)
    fresh.rename(path)


def new_id() -> str:
    """Twenty lower-case letters and digits, never a dash: `PORT-ID` must split in one way."""
    return "i" + "".join(secrets.choice(ALPHABET) for _ in range(19))
