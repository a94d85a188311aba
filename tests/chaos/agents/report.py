"""The matrix as a page of docs/."""

from datetime import date

from .matrix import Outcome

HEAD = """# How agents fail, and what a turn says of it

Each row is one sandbox of the local host with the real CLI, against the model server of the test suite. Written by
`uv run python -m tests.chaos agents --write docs/agents-failures.md` on {day}; exit status 1 when a turn ends
otherwise than it has to, later than its limit, without naming the cause, or with a process left in the machine.

The product's limit for an agent that prints nothing is ten minutes by default; here it is {silence} seconds. Seconds
count from the start of the command to the end of the turn, the CLI's own start and whatever else the machine does
included.
"""


def page(outcomes: list[Outcome], versions: dict[str, str], silence: int) -> str:
    """Markdown: a table per CLI."""
    parts = [HEAD.format(day=date.today().isoformat(), silence=silence)]  # noqa: DTZ011
    for tool in dict.fromkeys(outcome.tool for outcome in outcomes):
        parts.append(f"## {tool} {versions.get(tool, '')}".rstrip() + "\n")
        parts.append("| what happened | turn | seconds | what it says |\n|---|---|---|---|")
        parts += [_row(outcome) for outcome in outcomes if outcome.tool == tool]
        parts.append("")
    return "\n".join(parts)


def _row(outcome: Outcome) -> str:
    said = " ".join(outcome.detail.split()).replace("|", "\\|")
    faults = f" **{'; '.join(outcome.faults)}**" if outcome.faults else ""
    if outcome.left and not outcome.faults:
        faults = " (What its tool had started goes on, as a server of its own would.)"
    end = outcome.end.rstrip("/").replace("/", ", ")
    return f"| {outcome.case} | {end} | {outcome.seconds:g} | {said}{faults} |"
