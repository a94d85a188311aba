"""A real sandbox host process for tests."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.stack import ROOT, free_port, wait_for


@dataclass(frozen=True)
class Host:
    """Where it listens, with its key."""

    api_url: str
    sandbox_url: str
    api_key: str


@contextmanager
def serving(state: Path) -> Iterator[Host]:
    """A host with a state folder of its own; all its sandboxes end with it."""
    state.mkdir(parents=True, exist_ok=True)
    log = state / "host.log"
    argv = [sys.executable, "-m", "sandboxes.host", "--port", str(free_port()), "--state", str(state)]
    argv += ["--kill-on-exit", "--sample-seconds", "1"]
    with log.open("wb") as output:
        process = subprocess.Popen(argv, cwd=ROOT, stdout=output, stderr=output, env=os.environ)
    try:
        yield wait_for(lambda: announced(log, process), "the sandbox host's address")
    finally:
        process.terminate()
        process.wait(30)


def announced(log: Path, process: "subprocess.Popen[bytes]") -> Host | None:
    """What its first lines say; AssertionError with its words when it died."""
    text = log.read_text()
    assert process.poll() is None, f"the sandbox host ended: {text}"
    values = dict(line.split("=", 1) for line in text.splitlines() if line.startswith("E2B_") and "=" in line)
    if len(values) < 3:
        return None
    return Host(values["E2B_API_URL"], values["E2B_SANDBOX_URL"], values["E2B_API_KEY"])
