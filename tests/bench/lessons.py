"""What reading finished work costs: `uv run python -m tests.bench.lessons [EVENTS] [LESSONS]`, one line of JSON.

The time to choose what a session is sent of a sandbox with EVENTS (10,000) events, the tokens of that, and the time to
find the lesson among LESSONS (2,000) that a new one is most like; each the middle of seven.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django

HOME = tempfile.TemporaryDirectory(prefix="bench-lessons-", ignore_cleanup_errors=True)
os.environ |= {"TEST_STATE": HOME.name, "DJANGO_SETTINGS_MODULE": "tests.settings"}
django.setup()

# The models of these are there only now.
from codecourier.models import Project  # noqa: E402
from learnings import extraction, transcript  # noqa: E402
from learnings.models import LearningSettings, Lesson  # noqa: E402
from sandboxes import stock  # noqa: E402
from sandboxes.models import Sandbox, Template  # noqa: E402
from tests.sandboxes.pages import make  # noqa: E402
from tests.sandboxes.talking import Said, call, result, text, turn_of  # noqa: E402
from tests.stack import own_database  # noqa: E402

TIMES = 7
WORDS = (
    *("the", "basket", "total", "discount", "price", "test", "module"),
    *("field", "migration", "commit", "branch", "agent", "command", "file"),
)


def worked(project: Project, events: int) -> Sandbox:
    """A sandbox whose agent did much: of four events one is a text, one a call, one its result, one a thought."""
    sandbox = make(project, Template.objects.get(slug="claude"), "killed", title="Much")
    done: list[Said] = []
    for number in range(events // 4):
        done += [
            text(f"Step {number}. {' '.join(WORDS)}"), call(number, "Bash", command=f"make step-{number}"),
            result(number, "line of output\n" * 200, code=number % 2), ("thinking", {"text": " ".join(WORDS)}),
        ]  # fmt: skip
    turn_of(sandbox, "Do it all.", *done, status="succeeded")
    return sandbox


def lessons(project: Project, count: int) -> None:
    """Many, each of other words."""
    Lesson.objects.bulk_create(
        Lesson(
            project=project, status="approved", description="Because.", trigger=f"Case {number}: {WORDS[number % 14]}",
            behaviour=" ".join(WORDS[(number * step) % 14] + str(number * step) for step in range(1, 20)),
        )
        for number in range(count)
    )  # fmt: skip


def middle(act: Callable[[], Any]) -> float:
    """Milliseconds."""
    took = []
    for _ in range(TIMES):
        began = time.perf_counter()
        act()
        took.append(1000 * (time.perf_counter() - began))
    return round(statistics.median(took))


def measured(events: int, count: int) -> dict[str, object]:
    """All of it."""
    stock.templates()
    project = Project.objects.create(name="Bench", slug="bench")
    sandbox, most = worked(project, events), LearningSettings.of(project).tokens
    lessons(project, count)
    new = Lesson(project=project, trigger="Case 7 of basket", behaviour="basket7 total14 discount21")
    read = transcript.compose([sandbox], most)
    return {
        "events": events, "compose_ms": middle(lambda: transcript.compose([sandbox], most)), "tokens": read.tokens,
        "most_tokens": most, "lessons": count, "compare_ms": middle(lambda: extraction.compare(new)),
    }  # fmt: skip


def main() -> None:
    """Measure and print."""
    events, count = (int(given) for given in [*sys.argv[1:], "10000", "2000"][:2])
    with own_database(Path(HOME.name)):
        sys.stdout.write(json.dumps(measured(events, count)) + "\n")


if __name__ == "__main__":
    main()
