"""A large repository goes into machines, and work out of them: `uv run python -m tests.bench.work [FILES]`.

One line of JSON. The repository has FILES (50,000) files of 20 kB that can't be compressed, in one commit, on a git
server with keys on loopback: once as fast as that goes, once at the pace of a good line. Each time two sandboxes of a
project clone it one after the other, beside a plain `git clone` of the same address; the clones' seconds are those of
the whole phase, with those of git in the machine beside them. In the second machine a line is changed, twice, and once
more in a third sandbox that goes on from there; the checkpoints' seconds are those from the turn's end.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import django

HOME = tempfile.TemporaryDirectory(prefix="bench-work-", ignore_cleanup_errors=True)
os.environ |= {"TEST_STATE": HOME.name, "DJANGO_SETTINGS_MODULE": "tests.settings"}
django.setup()

from django.conf import settings  # noqa: E402

from codecourier.models import Project, ProviderKey  # noqa: E402
from sandboxes import fleet, turns  # noqa: E402
from sandboxes.models import Checkpoint, Sandbox, Turn  # noqa: E402
from tests import stack as stacks  # noqa: E402
from tests.githubserver.contract import contract  # noqa: E402
from tests.githubserver.server import TOKEN, GitHub, github  # noqa: E402
from tests.sandboxes.repositories import git  # noqa: E402
from tests.stack import Stack, wait_for  # noqa: E402

FILES, SIZE = 50_000, 20_000
# A busy machine needs minutes for the first clone.
PATIENCE = 500
# What a line of 200 Mbit/s brings in a second.
PACE = 25e6
LINE = "echo one more >> d000/f00000.bin"


def build(folder: Path, files: int) -> None:
    """The repository, by way of fast-import."""
    folder.parent.mkdir()
    git(folder.parent, "init", "-q", "--bare", "-b", "main", str(folder))
    noise = random.Random(1)
    importer = ["git", "-C", str(folder), "fast-import", "--quiet", "--depth=0"]
    with subprocess.Popen(importer, stdin=subprocess.PIPE) as process:
        assert process.stdin
        write = process.stdin.write
        write(b"commit refs/heads/main\ncommitter Ann <ann@example.com> 1700000000 +0000\ndata 5\nFirst\n")
        for number in range(files):
            data = noise.randbytes(SIZE)
            write(b"M 100644 inline d%03d/f%05d.bin\ndata %d\n%b\n" % (number % 200, number, len(data), data))
    assert process.returncode == 0


def plain(url: str, folder: Path) -> float:
    """Seconds of a plain clone with the key, on this machine itself."""
    shutil.rmtree(folder, ignore_errors=True)
    address = url.replace("://", f"://x-access-token:{TOKEN}@")
    began = time.perf_counter()
    subprocess.run(["git", "clone", "-q", address, str(folder)], check=True)
    took = time.perf_counter() - began
    shutil.rmtree(folder)
    return round(took, 1)


def cloned(stack: Stack, project: Project, url: str, **fields: Any) -> tuple[Sandbox, dict[str, float]]:
    """A sandbox, and how long its clone took."""
    sandbox = stack.launch(project, LINE, repository_url=url, memory_mb=2048, **fields)

    def there() -> bool:
        sandbox.refresh_from_db()
        assert sandbox.status != "error", sandbox.detail
        return sandbox.status == "running"

    wait_for(there, "the clone", PATIENCE)
    took, own = sandbox.phases.get(name="clone").took, sandbox.jobs.get(kind="clone").seconds
    assert took
    assert own
    return sandbox, {"seconds": round(took.total_seconds(), 2), "git_there": round(own, 2)}


def checkpoint(turn: Turn) -> dict[str, float]:
    """Seconds from the end of the turn's command until its work is on the portal, and the bytes that were moved."""

    def saved() -> Checkpoint | None:
        return turn.checkpoints.exclude(status="taking").first()

    row = wait_for(saved, "the checkpoint", PATIENCE)
    turn.refresh_from_db()
    assert (row.status, row.files) == ("stored", 1), row.detail
    assert row.ended_at
    assert turn.job
    assert turn.job.ended_at
    return {"seconds": round((row.ended_at - turn.job.ended_at).total_seconds(), 2), "bytes": row.bytes}


def measured(stack: Stack, hub: GitHub, pace: float) -> dict[str, Any]:
    """All of it in a project of its own, from a remote that is so fast."""
    hub.rate = pace
    project, _ = stack.project()
    ProviderKey.objects.create(project=project, provider="github", secret=TOKEN)
    url = f"{hub.url}/acme/large.git"
    found: dict[str, Any] = {"plain_clone": plain(url, stack.state / "plain")}
    first, found["first_clone"] = cloned(stack, project, url)
    fleet.stop(first, None)
    second, found["second_clone"] = cloned(stack, project, url)
    found["first_checkpoint"] = checkpoint(second.turns.get())
    found["second_checkpoint"] = checkpoint(turns.send(second, None, LINE))
    last = second.checkpoints.stored().last()
    fleet.stop(second, None)
    third, found["goes_on_clone"] = cloned(stack, project, url, continues=last)
    found["checkpoint_there"] = checkpoint(third.turns.get())
    fleet.stop(third, None)
    for name in ("first_clone", "plain_clone"):
        base = found[name] if name == "plain_clone" else found[name]["seconds"]
        found[f"second_to_{name}"] = round(found["second_clone"]["seconds"] / base, 2)
    return found


def main() -> None:
    """Measure and print."""
    files = int(sys.argv[1]) if len(sys.argv) > 1 else FILES
    stacks.DISK_MB = 10_240
    state = Path(HOME.name)
    (state / "hub").mkdir()
    with github(state / "hub", contract(state)) as hub:
        settings.PROVIDER_URLS["github"] = hub.api
        with stacks.running(state, hub.url.removeprefix("http://"), CODECOURIER_GITHUB_BASE_URL=hub.api) as stack:
            build(hub.at("acme/large"), files)
            kilobytes = int(git(hub.at("acme/large"), "count-objects", "-v").split("size-pack: ")[1].split()[0])
            paces = {"loopback": measured(stack, hub, 0), "200_mbit": measured(stack, hub, PACE)}
            sys.stdout.write(json.dumps({"files": files, "mb": kilobytes // 1024, **paces}) + "\n")


if __name__ == "__main__":
    main()
