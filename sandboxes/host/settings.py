"""What one installation of the host is told at its start."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """Paths, limits and switches of one host process.

    `state` holds everything that outlives the process; two hosts never share one.
    `tools` is shown to every sandbox, read-only, at /opt/tools; folders below `lend` to those that their owner names.
    `memory_grace` is how long a sandbox lives on whose memory was not enough, for its owner to save the work.
    Sizes are MiB unless the name says otherwise, times are seconds.
    """

    state: Path
    port: int = 0
    address: str = "127.0.0.1"
    pool: int = 2
    disk_mb: int = 10_240
    tmp_mb: int = 1_024
    pids: int = 1_024
    default_cpu: int = 2
    default_memory_mb: int = 1_024
    default_timeout: int = 300
    longest_timeout: int = 24 * 3600
    boot_seconds: float = 20.0
    sample_seconds: float = 5.0
    memory_grace: float = 10.0
    tools: Path | None = None
    lend: Path | None = None
    allow_private: tuple[str, ...] = ()
    kill_on_exit: bool = False

    @property
    def sandboxes(self) -> Path:
        """One folder per sandbox: its record, its disk, its sockets."""
        return self.state / "sandboxes"

    @property
    def tombstones(self) -> Path:
        """One small file per sandbox that ended less than a day ago."""
        return self.state / "tombstones"


class HostError(Exception):
    """The host cannot start or go on; the text says why and what to do."""
