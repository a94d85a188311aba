"""How fast cards are found among many: `uv run python -m tests.bench.issues [CARDS]`, one line of JSON.

CARDS (100,000) of one project, a fifth of them open; each page is asked for LOOKS times by Django's own client, and the
milliseconds are those of view, database and template together. `place` is a drop among all of them.
"""

import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import django
import psutil

HOME = tempfile.TemporaryDirectory(prefix="bench-issues-", ignore_cleanup_errors=True)
os.environ |= {"TEST_STATE": HOME.name, "DJANGO_SETTINGS_MODULE": "tests.settings"}
django.setup()

from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402

from codecourier.models import Project  # noqa: E402
from issues import cards, duplicates  # noqa: E402
from issues.models import Issue  # noqa: E402
from issues.models.card import BAND  # noqa: E402
from tests.conftest import signed_in  # noqa: E402
from tests.stack import Stack, own_database  # noqa: E402

CARDS, LOOKS, BATCH = 100_000, 40, 5_000
SAID = (
    "basket total price order refund payment token session cache retry timeout queue worker lock index query page form "
    "label address customer invoice report export import parser socket stream buffer thread signal config setting user "
    "password email webhook branch commit merge diff file path folder name number date time zone currency tax"
)
WORDS = SAID.split()
PAGES = {
    "board": "", "list": "?view=list", "list_all": "?view=list&status=all",
    "page_40": "?view=list&status=all&page=40",
    "by_priority": "?view=list&priority=critical", "search_rare": "?q=needle", "search_common": "?q=fix",
    "search_two": "?q=basket+refund", "search_path": "?q=module_77.py", "search_list": "?view=list&status=all&q=basket",
    "search_number": "?q=%2377",
}  # fmt: skip


def row(project: Project, number: int, chance: random.Random) -> Issue:
    """A card as a session would write it."""
    status = chance.choices(["new", "completed", "failed", "closed", "running"], [15, 60, 4, 20, 1])[0]
    priority = chance.randrange(4)
    title = f"Fix the {' '.join(chance.sample(WORDS, 4))} {number}" + (" needle" if number % 10_000 == 7 else "")
    issue = Issue(
        project=project, status=status, priority=priority, title=title, rank=BAND * priority + Decimal(number),
        description=" ".join(chance.choices(WORDS, k=50)), files=[f"src/module_{number % 5000}.py"], labels=["bench"],
    )  # fmt: skip
    issue.words = cards.words(issue)
    return issue


def fill(project: Project, count: int) -> None:
    """The rows, and statistics as autovacuum keeps them."""
    chance = random.Random(7)
    for start in range(0, count, BATCH):
        Issue.objects.bulk_create(row(project, start + n, chance) for n in range(min(BATCH, count - start)))
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE issues_issue")


def timed(act: Callable[[], object]) -> dict[str, float]:
    """Median and 95th percentile in milliseconds; `cpu_ms` is what one look took of this process and of its backend."""
    took = []
    act()
    used = cpu_seconds()
    for _ in range(LOOKS):
        began = time.perf_counter()
        act()
        took.append((time.perf_counter() - began) * 1000)
    return {
        "median_ms": round(statistics.median(took), 1),
        "p95_ms": round(sorted(took)[int(LOOKS * 0.95) - 1], 1),
        "cpu_ms": round((cpu_seconds() - used) * 1000 / LOOKS, 1),
    }


def cpu_seconds() -> float:
    """Of this process and of the database's process that serves it: what does not depend on who else is at work."""
    connection.ensure_connection()
    spent = psutil.Process(connection.connection.info.backend_pid).cpu_times()
    return float(time.process_time() + spent.user + spent.system)


def seen(client: Client, path: str) -> None:
    """One page."""
    answer = client.get(path)
    assert answer.status_code == 200, (path, answer.status_code)


def measured(client: Client, project: Project) -> dict[str, dict[str, float]]:
    """All pages, a drop, and the search for a duplicate."""
    base = f"/p/{project.slug}/issues/"
    found = {name: timed(lambda query=query: seen(client, base + query)) for name, query in PAGES.items()}  # type: ignore[misc]
    first, second, third = Issue.objects.filter(project=project, status="new").order_by("rank")[:3]
    found["place"] = timed(lambda: cards.place(third, first, second))
    new = Issue(project=project, title=first.title, description=first.description, files=first.files)
    found["duplicate"] = timed(lambda: duplicates.find(new, 0.45))
    return found


def main() -> None:
    """Measure and print."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else CARDS
    with own_database(Path(HOME.name)) as url:
        project, user = Stack(Path(HOME.name), url).project()
        fill(project, count)
        client = signed_in(user)
        client.defaults["HTTP_HOST"] = "localhost"
        result = {"cards": count, "looks": LOOKS, **measured(client, project)}
        sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
