"""`uv run python -m tests.chaos runs --minutes N [--seed S] [--agents]`: JSON; exit status 1 on any violation.

Each round is one run of a workflow that loops, is checked, polished and pushed, with script agents or, with --agents,
the real CLIs on the scripted models. All processes are killed in random order meanwhile; then the run has to be
complete: each step once for each iteration, one branch, one pull request, no machine left.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import django

# The settings are read once, so the folder has to be there before.
HOME = tempfile.TemporaryDirectory(prefix="chaos-runs-", ignore_cleanup_errors=True)
os.environ |= {"TEST_STATE": HOME.name, "DJANGO_SETTINGS_MODULE": "tests.settings"}
django.setup()

# The models of these are there only now.
from django.conf import settings  # noqa: E402

from tests.agents import flows  # noqa: E402
from tests.agents.harness import AgentStack  # noqa: E402
from tests.agents.harness import running as running_agents  # noqa: E402
from tests.chaos.blows import Blows  # noqa: E402
from tests.endtoend import script_runs  # noqa: E402
from tests.githubserver.contract import contract  # noqa: E402
from tests.githubserver.server import GitHub, github  # noqa: E402
from tests.stack import Stack, running  # noqa: E402
from workflows.models import Run  # noqa: E402

# A run that isn't over after this is stuck.
LONGEST = 300.0


@contextmanager
def product(agents: bool) -> Iterator[tuple[Stack, GitHub]]:
    """The real processes, and GitHub."""
    home = Path(HOME.name)
    (home / "github").mkdir()
    with github(home / "github", contract(home), "127.0.0.2") as hub:
        settings.PROVIDER_URLS["github"] = hub.api
        env = {"CODECOURIER_GITHUB_BASE_URL": hub.api}
        if agents:
            with running_agents(home, **env) as stack:
                stack.start("web")
                yield stack, hub
        else:
            with running(home, hub.url.removeprefix("http://"), **env) as plain:
                yield plain, hub


def one(stack: Stack, hub: GitHub, blows: Blows, number: int) -> list[str]:
    """One round; what was wrong with it."""
    name = f"acme/round{number}"
    play = flows if isinstance(stack, AgentStack) else script_runs
    run: Run = play.launch(play.project(stack, hub, name, Path(HOME.name) / name))
    end = time.monotonic() + LONGEST
    try:
        while not over(run):
            if time.monotonic() > end:
                raise AssertionError("it did not end")
            blows.wait(4.0)
            blows.strike()
        play.check(run, hub, name)
    except AssertionError as error:
        return [f"round {number}: {str(error)[:600]}\n{script_runs.told(run)}"]
    return []


def over(run: Run) -> bool:
    """It has ended, and its machines are gone."""
    run.refresh_from_db()
    return run.final and run.cleaned_at is not None


def main(argv: list[str]) -> int:
    """Rounds until the time is up."""
    words = argparse.ArgumentParser(prog="tests.chaos runs", description=__doc__)
    words.add_argument("--minutes", type=float, required=True, help="begin no round after so many minutes")
    words.add_argument("--seed", type=int, default=None, help="of every choice; the moments still differ")
    words.add_argument("--agents", action="store_true", help="the real CLIs instead of scripts")
    given = words.parse_args(argv)
    seed = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    faults, rounds, began = list[str](), 0, time.monotonic()
    with product(given.agents) as (stack, hub):
        blows = Blows(stack, random.Random(seed))
        while time.monotonic() - began < given.minutes * 60:
            rounds += 1
            faults += one(stack, hub, blows, rounds)
            print(f"round {rounds}: {len(faults)} violations", file=sys.stderr, flush=True)
    report: dict[str, Any] = {
        "seed": seed, "agents": given.agents, "seconds": round(time.monotonic() - began), "rounds": rounds,
        "done": dict(sorted(blows.count.items())), "violations": faults,
    }  # fmt: skip
    print(json.dumps(report, indent=2))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
