"""How fast a million rows of the ledger are shown: `uv run python -m tests.bench.usage [ROWS]`, one line of JSON.

Two years of 200 projects, eight rows a turn, as a turn of an agent on an E2B machine leaves them. Asked are the pages
of the organisation from the product's own web process: milliseconds until Chromium paints the first of them, and until
the last byte of others (the middle of LOOKS); the whole ledger as CSV, with the megabytes by which that process grew;
and the sums of one day made anew.
"""

import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import django

HOME = tempfile.TemporaryDirectory(prefix="bench-usage-", ignore_cleanup_errors=True)
os.environ |= {
    "TEST_STATE": HOME.name,
    "DJANGO_SETTINGS_MODULE": "tests.settings",
    "DJANGO_ALLOW_ASYNC_UNSAFE": "true",
}
django.setup()

import httpx  # noqa: E402
import psutil  # noqa: E402
from django.db import connection  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402

from codecourier import postgres  # noqa: E402
from codecourier.models import Project, User  # noqa: E402
from tests.conftest import signed_in  # noqa: E402
from tests.stack import Stack, own_database  # noqa: E402
from usage import rollups  # noqa: E402
from usage.models import Entry, Rollup  # noqa: E402

ROWS, PROJECTS, PEOPLE, DAYS, LOOKS = 1_000_000, 200, 60, 730, 5
END = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
# Six turns, one after the other, are a run of three steps and two iterations, or a third of the time somebody's own
# sandbox. A project has five people and three workflows, whose steps have their personas and models.
FILL = """
INSERT INTO usage_entry (key, fact, service, model, metric, activity, quantity, price, cost, at, day, recorded_at,
    project_id, project_name, person_id, person_name, sandbox_id, turn_id, run_id, step, iteration, candidate, issue,
    workflow, workflow_id, persona, persona_id, role, kind, source)
SELECT key, key, service, name, metric, activity, quantity, price, price * quantity, at, (at AT TIME ZONE 'UTC')::date,
    at, project, 'Project ' || project, person, 'Person ' || person, work, turn, run, step, iteration, '', '',
    workflow, workflow_id, persona, persona_id, role, kind, source
FROM (
    SELECT 'bench:' || turn || ':' || part AS key, turns.*,
        %(end)s - make_interval(secs => (1 - turn::float / %(turns)s) * %(days)s * 86400 + part) AS at,
        CASE WHEN part < 4 THEN (ARRAY['anthropic', 'anthropic', 'openai', 'openrouter'])[model] ELSE 'e2b'
            END AS service,
        CASE WHEN part < 4 THEN (ARRAY['claude-sonnet-5-5', 'claude-opus-5-5', 'gpt-6.1-sol', 'qwen/qwen3'])[model]
            ELSE '' END AS name,
        (ARRAY['input', 'output', 'cache_read', 'cache_write', 'vcpu_seconds', 'gib_seconds', 'vcpu_seconds',
            'gib_seconds'])[part + 1] AS metric,
        CASE WHEN part < 6 THEN 'turn' ELSE 'idle' END AS activity,
        (ARRAY[4000, 1500, 90000, 7000, 240, 240, 30, 30])[part + 1] + (turn * 7 + part) %% 97 AS quantity,
        CASE WHEN model = 4 AND part < 4 THEN NULL ELSE (ARRAY[0.000002, 0.00001, 0.0000001, 0.0000025, 0.000014,
            0.0000045, 0.000014, 0.0000045])[part + 1] END AS price,
        'Persona ' || (project + step_number) %% 12 AS persona, (project + step_number) %% 12 AS persona_id,
        (ARRAY['planner', 'designer', 'checker'])[step_number + 1] AS role
    FROM (
        SELECT turn, work, project, step_number, 1 + (project * 7 + work %% 5) %% %(people)s AS person,
            1 + (project + step_number) %% 11 / 3 AS model,
            CASE WHEN work %% 3 > 0 THEN work END AS run,
            CASE WHEN work %% 3 > 0 THEN step_number::text ELSE '' END AS step,
            CASE WHEN work %% 3 > 0 THEN 1 + turn %% 6 / 3 END AS iteration,
            CASE WHEN work %% 3 > 0 THEN 'Workflow ' || project %% 40 || (ARRAY[' a', ' b', ' c'])[work %% 4 / 2 + 1]
                ELSE '' END AS workflow,
            CASE WHEN work %% 3 > 0 THEN project * 3 + work %% 4 / 2 END AS workflow_id,
            CASE WHEN work %% 3 > 0 THEN 'step' ELSE 'standalone' END AS kind,
            (ARRAY['manual', 'schedule', 'issue'])[work %% 3 + 1] AS source
        FROM (
            SELECT turn, turn / 6 AS work, turn %% 3 AS step_number,
                1 + floor(power((hashint8(turn / 6)::bigint + 2147483648) / 4294967296.0, 2) * %(projects)s)::int
                    AS project
            FROM generate_series(%(first)s, %(last)s) turn
        ) works
    ) turns, generate_series(0, 7) part
) parts
"""


# What people look at: the default, then spans and filters of the two years.
PAGES = {
    "this_month": "", "all": "?span=all", "all_by_person": "?span=all&split=person",
    "model": "?span=all&model=claude-opus-5-5",
    "kind_by_workflow": "?span=all&kind=step&split=workflow", "project": "?span=all&project=3&split=persona",
    "year_by_role": "?span=365&split=role", "persona_and_source": "?span=all&persona=Persona+3&source=issue",
    "worth": "worth/?span=all", "rows": "rows/?span=all", "rows_of_a_person": "rows/?span=all&person=7",
}  # fmt: skip
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"


def fill(rows: int) -> None:
    """Write so many rows, then their sums."""
    turns = rows // 8
    for first in range(1, turns + 1, 25_000):
        last = min(first + 24_999, turns)
        with connection.cursor() as cursor:
            known: dict[str, Any] = {"end": END, "turns": turns, "days": DAYS, "projects": PROJECTS, "people": PEOPLE}
            cursor.execute(FILL, {**known, "first": first, "last": last})
    rollups.rebuild()
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def people() -> User:
    """The projects and the people of the rows, and a manager."""
    Project.objects.bulk_create(Project(pk=n, name=f"Project {n}", slug=f"project-{n}") for n in range(1, PROJECTS + 1))
    User.objects.bulk_create(User(pk=n, email=f"p{n}@example.com", name=f"Person {n}") for n in range(1, PEOPLE + 1))
    return User.objects.create(pk=PEOPLE + 1, email="root@example.com", is_staff=True, is_superuser=True)


def cpu(web: psutil.Process, server: psutil.Process) -> float:
    """Seconds of CPU that the web process and the database have used, those of ended backends included."""
    times = server.cpu_times()
    alive = [process.cpu_times() for process in (web, *server.children())]
    return float(times.children_user + times.children_system + sum(one.user + one.system for one in alive))


def pages(client: httpx.Client, web: psutil.Process, server: psutil.Process) -> dict[str, list[int]]:
    """Milliseconds to the last byte, and of CPU: on a busy machine the second say more."""
    took = {}
    for name, address in PAGES.items():
        times, used = [], cpu(web, server)
        for _ in range(LOOKS):
            start = time.perf_counter()
            client.get(f"/usage/{address}").raise_for_status()
            times.append(1000 * (time.perf_counter() - start))
        took[name] = [round(statistics.median(times)), round(1000 * (cpu(web, server) - used) / LOOKS)]
    return took


def painted(url: str, session: str) -> int:
    """Milliseconds from the navigation to the first paint of the default report."""
    found = shutil.which("chromium")
    if not found:
        raise SystemExit("There is no Chromium here: apt-get install chromium.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        context = browser.new_context(base_url=url, viewport={"width": 1440, "height": 900})
        context.add_cookies([{"name": "sessionid", "value": session, "url": url}])
        page, times = context.new_page(), []
        for _ in range(LOOKS + 1):
            page.goto("/usage/")
            page.wait_for_function(f"() => {PAINT}")
            times.append(float(page.evaluate(f"() => {PAINT}")))
        browser.close()
    return round(statistics.median(times[1:]))


def whole(client: httpx.Client, web: psutil.Process) -> dict[str, float]:
    """All rows as CSV: how long, how many lines, and how far the server grew meanwhile."""
    before, most, lines, start = web.memory_info().rss, 0, 0, time.perf_counter()
    with client.stream("GET", "/usage/rows.csv?span=all") as answer:
        for number, part in enumerate(answer.iter_bytes()):
            lines += part.count(b"\n")
            if number % 50 == 0:
                most = max(most, web.memory_info().rss)
    seconds = time.perf_counter() - start
    return {"seconds": round(seconds, 1), "lines": lines, "grew_mb": round((most - before) / 2**20, 1)}


def day() -> dict[str, float]:
    """The sums of one day made anew, and all of them compared with the rows."""
    which = (END - timedelta(days=3)).date()
    start = time.perf_counter()
    rollups.rebuild(which, which)
    rebuilt, start = time.perf_counter() - start, time.perf_counter()
    different = rollups.compare()
    return {"rebuild_ms": round(1000 * rebuilt), "compare_all_ms": round(1000 * (time.perf_counter() - start)),
            "different": len(different), "rows_of_the_day": Entry.objects.filter(day=which).count()}  # fmt: skip


def main() -> None:
    """Measure and print."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    state = Path(HOME.name)
    with own_database(state) as url:
        user = people()
        fill(rows)
        stack = Stack(state, url, DJANGO_SETTINGS_MODULE="codecourier.settings", STATE=str(state))
        try:
            stack.start("web")
            session = signed_in(user).cookies["sessionid"].value
            client = httpx.Client(base_url=stack.url, cookies={"sessionid": session}, timeout=120, trust_env=False)
            client.get("/usage/?span=all")
            web = psutil.Process(stack.processes["web"].pid)
            server = psutil.Process(postgres.status(state).pid or 0)
            result = {
                "rows": Entry.objects.count(), "sums": Rollup.objects.count(),
                "first_paint_ms": painted(stack.url, session),
                "pages_ms": pages(client, web, server), "csv": whole(client, web), "day": day(),
            }  # fmt: skip
            sys.stdout.write(json.dumps(result) + "\n")
        finally:
            stack.stop()


if __name__ == "__main__":
    main()
