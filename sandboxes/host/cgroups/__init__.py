"""Limits, accounting and freezing of one sandbox: cgroup v1, v2, or none."""

import contextlib
from pathlib import Path
from typing import Protocol

from .bare import Bare
from .v1 import Version1, find_v1
from .v2 import Version2, find_v2


class Group(Protocol):
    """The processes of one sandbox, as something to limit, count, freeze and kill."""

    kind: str

    def folders(self) -> list[str]: ...
    def create(self) -> None: ...
    def adopt(self, init: int) -> None: ...
    def limit(self, cpu: int, memory_mb: int, pids: int) -> None: ...
    def freeze(self) -> None: ...
    def thaw(self) -> None: ...
    def pids(self) -> list[int]: ...
    def oom_kills(self) -> int: ...
    def oom_event(self) -> int: ...
    def relieve(self) -> None: ...
    def memory_used(self) -> int: ...
    def memory_cache(self) -> int: ...
    def cpu_seconds(self) -> float: ...
    def remove(self) -> None: ...


class Groups:
    """Makes the groups of one host; `name` keeps hosts apart on one machine."""

    def __init__(self, name: str) -> None:
        self.v1 = find_v1(name)
        self.v2 = None if self.v1 else find_v2(name)

    @property
    def kind(self) -> str:
        """`v1`, `v2` or `none`: which limits the kernel keeps for us."""
        return "v1" if self.v1 else "v2" if self.v2 else "none"

    def group(self, sandbox_id: str) -> Group:
        if self.v1:
            return Version1({controller: root / sandbox_id for controller, root in self.v1.items()})
        if self.v2:
            return Version2(self.v2 / sandbox_id)
        return Bare()

    def roots(self) -> list[Path]:
        return [*self.v1.values()] if self.v1 else [self.v2] if self.v2 else []

    def names(self) -> set[str]:
        """The sandboxes that have a group now, live or left behind."""
        return {entry.name for root in self.roots() if root.is_dir() for entry in root.iterdir() if entry.is_dir()}

    def close(self) -> None:
        """Remove the host's own folders, and the one all hosts share, where nothing is left in them."""
        for root in self.roots():
            with contextlib.suppress(OSError):
                root.rmdir()
                root.parent.rmdir()


__all__ = ["Bare", "Group", "Groups", "Version1", "Version2"]
