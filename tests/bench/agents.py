"""How soon an agent is seen at work: `uv run python -m tests.bench.agents [CLICKS]`, one line of JSON.

Chromium fills the form and clicks Start sandbox; the time is that until the first event is in the conversation. Beside
it stands what the CLI itself took of that: from its start in the machine to the line that the event was read from.
"""

import json
import os
import re
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import django

HOME = tempfile.TemporaryDirectory(prefix="bench-agents-", ignore_cleanup_errors=True)
os.environ |= {
    "TEST_STATE": HOME.name,
    "DJANGO_SETTINGS_MODULE": "tests.settings",
    "DJANGO_ALLOW_ASYNC_UNSAFE": "true",
}
django.setup()

from playwright.sync_api import Page, sync_playwright  # noqa: E402

from codecourier.models import User  # noqa: E402
from sandboxes import fleet  # noqa: E402
from sandboxes.models import Event, Sandbox, Template  # noqa: E402
from tests.agents.clis import CLIS, Cli  # noqa: E402
from tests.agents.harness import AgentStack, project_for  # noqa: E402
from tests.conftest import signed_in  # noqa: E402
from tests.modelserver import ModelServer  # noqa: E402
from tests.stack import own_database, wait_for  # noqa: E402

CLICKS = 5
PROMPT = "[[say: Here I am.]]"
FIRST = """async () => {
    let event;
    while (!(event = document.querySelector(".events .event"))) await new Promise(requestAnimationFrame);
    return event.id;
}"""


def click(page: Page, slug: str, template: Template, cli: Cli) -> tuple[float, float]:
    """(seconds from the click to the first event, the CLI's own seconds of them)."""
    page.goto(f"/p/{slug}/sandboxes/new/")
    page.select_option("select[name=template]", str(template.pk))
    page.fill("input[name=designer_model]", cli.model)
    page.fill("textarea[name=prompt]", PROMPT)
    began = time.perf_counter()
    with page.expect_navigation(url=re.compile(r"/sandboxes/\d+/"), wait_until="commit"):
        page.get_by_role("button", name="Start sandbox").click()
    where = page.evaluate(FIRST)
    took = time.perf_counter() - began
    job, seq = map(int, re.findall(r"\d+", where)[:2])
    own = Event.objects.get(job_id=job, seq=seq).t_ms / 1000
    done(Sandbox.objects.get(jobs=job))
    return took, own


def done(sandbox: Sandbox) -> None:
    """Give its machine back, so that the next one is not slowed by it."""
    fleet.stop(sandbox, None)

    def released() -> bool:
        sandbox.refresh_from_db()
        return sandbox.released_at is not None

    wait_for(released, "the machine to be gone")


def measured(page: Page, stack: AgentStack, cli: Cli, clicks: int) -> dict[str, float]:
    """Medians, in seconds; the first click warms the machine up and does not count."""
    project, user, _ = project_for(stack, cli)
    sign_in(page, stack, user)
    template = Template.objects.get(slug=cli.tool)
    both = [click(page, project.slug, template, cli) for _ in range(clicks + 1)][1:]
    over = [took - own for took, own in both]
    return {
        "click_to_first_event_s": round(statistics.median(took for took, _ in both), 2),
        "of_that_the_cli_s": round(statistics.median(own for _, own in both), 2),
        "ours_s": round(statistics.median(over), 2),
        "ours_most_s": round(max(over), 2),
    }


def sign_in(page: Page, stack: AgentStack, user: User) -> None:
    """As that person."""
    session = signed_in(user).cookies["sessionid"].value
    page.context.add_cookies([{"name": "sessionid", "value": session, "url": stack.url}])


def main() -> None:
    """Measure and print."""
    clicks = int(sys.argv[1]) if len(sys.argv) > 1 else CLICKS
    state, found = Path(HOME.name), shutil.which("chromium")
    if not found:
        raise SystemExit("There is no Chromium here: apt-get install chromium.")
    with ModelServer.running() as server, own_database(state) as url:
        stack = AgentStack(state, url, server, DJANGO_SETTINGS_MODULE="codecourier.settings", STATE=str(state))
        try:
            stack.start("host", "worker", "relay", "web")
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
                page = browser.new_context(base_url=stack.url).new_page()
                figures = {cli.tool: measured(page, stack, cli, clicks) for cli in CLIS}
                browser.close()
            sys.stdout.write(json.dumps({"clicks": clicks, **figures}) + "\n")
        finally:
            stack.stop()


if __name__ == "__main__":
    main()
