"""`uv run python -m tests.chaos agents`: JSON on stdout; exit status 1 when something went otherwise than it has to."""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

import django

# The settings are read once, so the folder has to be there before.
HOME = tempfile.TemporaryDirectory(prefix="chaos-agents-", ignore_cleanup_errors=True)
os.environ |= {"TEST_STATE": HOME.name, "DJANGO_SETTINGS_MODULE": "tests.settings"}
django.setup()

# The models of these are there only now.
from sandboxes.agents import AGENTS  # noqa: E402
from tests.agents.clis import CLIS  # noqa: E402
from tests.agents.harness import running  # noqa: E402

from . import report  # noqa: E402
from .cases import CASES, SILENCE  # noqa: E402
from .matrix import Outcome, perform  # noqa: E402


def main(argv: list[str]) -> int:
    """The whole matrix, or the part that is asked for."""
    words = argparse.ArgumentParser(prog="tests.chaos agents", description=__doc__)
    words.add_argument("tools", nargs="*", default=[cli.tool for cli in CLIS], help="all without any")
    words.add_argument("--case", help="only cases whose name contains this")
    words.add_argument("--write", type=Path, help="write the result as a page, too")
    given = words.parse_args(argv)
    outcomes = matrix(given.tools, given.case or "")
    if given.write:
        versions = {tool: package.version for tool, agent in AGENTS.items() if (package := agent.package)}
        given.write.write_text(report.page(outcomes, versions, SILENCE))
    print(json.dumps([outcome.to_json() for outcome in outcomes], indent=2))
    return 1 if any(outcome.faults for outcome in outcomes) else 0


def matrix(tools: list[str], part: str) -> list[Outcome]:
    """Each chosen case with each chosen CLI, one after the other."""
    outcomes = []
    with running(Path(HOME.name)) as stack:
        for cli in CLIS:
            for case in CASES:
                if cli.tool in tools and part in case.name:
                    outcomes.append(perform(stack, cli, case))
                    print(_line(outcomes[-1]), file=sys.stderr, flush=True)
    return outcomes


def _line(outcome: Outcome) -> str:
    return f"{outcome.tool}, {outcome.case}: {outcome.end} in {outcome.seconds} s {'; '.join(outcome.faults)}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
