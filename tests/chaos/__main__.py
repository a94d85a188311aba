"""`uv run python -m tests.chaos --minutes N [--seed S]`: prints a JSON summary; exit status 1 on any violation.

`uv run python -m tests.chaos agents ...` is another one, with the real CLIs: tests/chaos/agents.
`uv run python -m tests.chaos runs ...` kills while workflows run: tests/chaos/runs.
"""

import argparse
import json
import os
import random
import runpy
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import django

if sys.argv[1:2] in (["agents"], ["runs"]):
    runpy.run_module(f"tests.chaos.{sys.argv.pop(1)}", run_name="__main__", alter_sys=True)

# The settings are read once, so the folder has to be there before.
HOME = tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True)
os.environ |= {"TEST_STATE": HOME.name, "DJANGO_SETTINGS_MODULE": "tests.settings"}
django.setup()

# The models of these are there only now.
from django.conf import settings  # noqa: E402

from tests.chaos import checks  # noqa: E402
from tests.chaos.blows import Blows  # noqa: E402
from tests.chaos.rounds import Round, Tally  # noqa: E402
from tests.chaos.spools import Keeper  # noqa: E402
from tests.host.hosts import HostProcess  # noqa: E402
from tests.stack import running, wait_for  # noqa: E402

# Small, so that a flood reaches it.
CAP_MB = 4
GONE_SECONDS = 30.0


def main() -> int:
    """Rounds until the time is up, then the look at what is left."""
    words = argparse.ArgumentParser(prog="tests.chaos", description=__doc__)
    words.add_argument("--minutes", type=float, required=True, help="begin no round after so many minutes")
    words.add_argument("--seed", type=int, default=None, help="of every choice; the moments still differ")
    words.add_argument("--keep", type=Path, help="copy the processes' logs here when something was wrong")
    given = words.parse_args()
    seed = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    report = chaos(given.minutes * 60, seed, given.keep)
    print(json.dumps(report, indent=2))
    return 1 if report["violations"] else 0


def chaos(seconds: float, seed: int, keep: Path | None) -> dict[str, Any]:
    """The whole run."""
    tally, state = Tally(), Path(HOME.name)
    with running(state, OUTPUT_CAP_MB=str(CAP_MB)) as stack:
        keeper, blows = Keeper(state / "host", state / "spools"), Blows(stack, random.Random(seed))
        keeper.start()
        began = time.monotonic()
        try:
            while time.monotonic() - began < seconds:
                Round(stack, keeper, blows, tally).run()
                print(f"round {tally.rounds}: {len(tally.violations)} violations", file=sys.stderr, flush=True)
        finally:
            keeper.close()
            if keep and tally.violations:
                (state / "log").rename(keep)
                (state / "log").mkdir()
    tally.violations += [f"left: {what}" for what in leftovers(state)]
    done = dict(sorted(blows.count.items()))
    return {"seed": seed, "seconds": round(time.monotonic() - began), "done": done, **tally.report()}


def leftovers(state: Path) -> list[str]:
    """Processes, folders, cgroups and loop devices that outlived the stack."""

    def found() -> list[str]:
        return checks.processes(state) + HostProcess(state / "host").leftovers()

    try:
        wait_for(lambda: not found(), "everything to be gone", GONE_SECONDS)
    except AssertionError:
        return found()
    return []


if __name__ == "__main__":
    assert str(settings.STATE) == HOME.name
    sys.exit(main())
