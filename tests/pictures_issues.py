"""`uv run python -m tests.pictures_issues`: board, card, session, questions and chain as people see them.

The rows are written by the app's own verbs; there are no machines behind them.
"""

import os
import tempfile
from pathlib import Path
from typing import Any, Literal

import django

# The settings are read once, so the folder has to be there before.
HOME = tempfile.TemporaryDirectory(prefix="pictures-issues-", ignore_cleanup_errors=True)
os.environ |= {
    "TEST_STATE": HOME.name,
    "DJANGO_SETTINGS_MODULE": "tests.settings",
    "DJANGO_ALLOW_ASYNC_UNSAFE": "true",
}
django.setup()

# The models of these are there only now.
from django.utils import timezone  # noqa: E402
from playwright.sync_api import Browser, sync_playwright  # noqa: E402

from codecourier.models import Project, User  # noqa: E402
from issues import answering, cards, scan, sessions, work  # noqa: E402
from issues import chain as chains  # noqa: E402
from issues.models import Chain, Issue, IssueSession, Question  # noqa: E402
from sandboxes.models import Event, Job, Turn  # noqa: E402
from tests.conftest import signed_in  # noqa: E402
from tests.issues.conftest import finding, findings  # noqa: E402
from tests.issues.workflows import script  # noqa: E402
from tests.stack import ROOT, Stack, own_database  # noqa: E402
from workflows.models import Run  # noqa: E402

FOLDER = ROOT / "docs" / "screenshots"
SIZES = {"": (1440, 900), "-phone": (390, 844)}
THEMES: dict[str, Literal["light", "dark"]] = {"": "light", "-dark": "dark"}
FOUND = [
    ("Total of an empty basket raises", "high", ["shop/basket.py"], ["bug"]),
    ("Discounts above 100 % pay the customer", "critical", ["shop/discount.py", "shop/basket.py"], ["bug", "money"]),
    ("A name with a quote breaks the address label", "medium", ["shop/label.py"], ["bug"]),
    ("The order number is guessed, not unique", "critical", ["shop/orders.py"], ["race"]),
    ("No test covers refunds", "low", ["tests/test_refund.py"], ["tests"]),
    ("README tells to install a package that is gone", "low", ["README.md"], ["docs"]),
    ("Retries of the payment are not idempotent", "high", ["shop/pay.py"], ["money"]),
    ("Logs contain whole card numbers", "critical", ["shop/log.py"], ["security"]),
    ("Dates are compared as text", "medium", ["shop/report.py"], ["bug"]),
]
TEXT = """The function builds its sum from `prices[0]`, so a basket without prices raises `IndexError`.

```python
def total(prices):
    result = prices[0]
```

An empty basket should cost **0**. The basket page calls it before the first product is added, see `shop/views.py`."""
SAID: list[tuple[str, dict[str, Any]]] = [
    ("thinking", {"text": "I look at the shop's code before I believe its README."}),
    ("tool_call", {"id": "1", "name": "Bash", "input": {"command": "git log --oneline | head; ls -R shop tests"}}),
    ("tool_result", {"id": "1", "output": "3f2c1aa Add discounts\n…", "error": False, "exit": 0, "seconds": 0.4}),
    ("tool_call", {"id": "2", "name": "Read", "input": {"file_path": "shop/basket.py"}}),
    (
        "tool_result",
        {"id": "2", "output": "def total(prices):\n    result = prices[0]\n", "error": False, "seconds": 0.1},
    ),
    ("text", {"text": "`total` starts from the first price. I check who calls it with none."}),
]


def end(turn: Turn, answer: dict[str, Any]) -> None:
    """As if the agent had answered."""
    turn.move("running", started_at=timezone.now())
    turn.move("succeeded", answer=answer, ended_at=timezone.now())


def answered(session: IssueSession, answer: dict[str, Any], take: Any) -> None:
    """Its answer, taken."""
    assert session.turn
    end(session.turn, answer)
    sessions.settle(session, take)


def talk(session: IssueSession) -> None:
    """An agent at work, as its page shows it."""
    assert session.sandbox
    assert session.turn
    job = Job.objects.create(sandbox=session.sandbox, kind=Job.Kind.TURN, status=Job.Status.RUNNING, events=len(SAID))
    for seq, (kind, data) in enumerate(SAID, 1):
        Event.objects.create(job=job, seq=seq, t_ms=seq * 900, kind=kind, data=data)
    session.turn.move("running", started_at=timezone.now(), job=job)


def ended(run: Run, status: str, detail: str = "") -> None:
    """As if its steps were over."""
    run.move("running", started_at=timezone.now())
    run.move(status, ended_at=timezone.now(), detail=detail)


def seed(project: Project, user: User) -> dict[str, str]:
    """Rows of everything; the addresses of the pages by the names of their pictures."""
    project.name, project.repository_url = "Corner shop", "https://git.example.com/corner/shop.git"
    project.save()
    workflow = script(project, "Designer and checker")
    first = scan.launch(project, user, scope=["shop", "tests"])
    issues = [
        finding(title=title, priority=priority, files=files, labels=labels, description=TEXT)
        for title, priority, files, labels in FOUND
    ]
    questions = [
        {"text": "May a price be negative, as for a refund?", "why": "Decides whether the total may be below 0.",
         "issues": [0]},
        {"text": "Which of the two payment providers is still in use?", "issues": [6]},
    ]  # fmt: skip
    assumed = [{"text": "Python 3.12 is the oldest version that has to work.", "confidence": 0.8}]
    answered(first, findings(*issues, questions=questions, assumptions=assumed), scan.take)
    again = scan.launch(project, user)
    twin = finding(title="The total of an empty basket raises an error", description=TEXT, files=["shop/basket.py"])
    answered(again, findings(twin, finding(title="Two clocks disagree", files=["shop/clock.py"])), scan.take)
    asking = answering.launch(project, user, Question.objects.open())
    given = [
        {"question": Question.objects.open()[0].pk, "answer": "Only `stripe.py` is imported, `paypal.py` never.",
         "confidence": 0.9, "evidence": [{"file": "shop/pay.py", "line": 12}, {"file": "shop/urls.py", "line": 40}]}
    ]  # fmt: skip
    answered(asking, {"answers": given}, answering.take)
    live = scan.launch(project, user, prompt="Look for races and for money that is counted wrong.", scope=["shop"])
    talk(live)
    by_title = {issue.title: issue for issue in Issue.objects.cards().filter(project=project)}
    for title, status, detail in [
        ("Dates are compared as text", "completed", ""),
        ("README tells to install a package that is gone", "completed", ""),
        ("A name with a quote breaks the address label", "failed", "The checker did not approve: two tests fail."),
    ]:
        run = work.run(by_title[title], user, workflow)
        ended(run, status, detail)
        work.follow_run(run)
    work.run(by_title["Logs contain whole card numbers"], user, workflow)
    chain = chained(project, user, workflow, by_title)
    shown = by_title["Total of an empty basket raises"]
    cards.prioritise(shown, user, 0)
    base = f"/p/{project.slug}/issues"
    return {
        "issues-board": f"{base}/", "issues-list": f"{base}/?view=list", "issue": f"{base}/{shown.pk}/",
        "issue-session": f"{base}/sessions/{again.pk}/", "issue-session-live": f"{base}/sessions/{live.pk}/",
        "issue-session-new": f"{base}/sessions/new/", "questions": f"{base}/questions/?view=all",
        "chain": f"{base}/chains/{chain.pk}/", "issues-settings": f"/p/{project.slug}/settings/issues/",
    }  # fmt: skip


def chained(project: Project, user: User, workflow: Any, by_title: dict[str, Issue]) -> Chain:
    """A chain that stopped at its second link."""
    titles = ["The order number is guessed, not unique", "Retries of the payment are not idempotent",
              "No test covers refunds", "Discounts above 100 % pay the customer"]  # fmt: skip
    chain = chains.of_issues(project, user, workflow, [by_title[title] for title in titles], title="Money first")
    for status, detail in (
        ("completed", ""),
        ("failed", "The checker did not approve the work: no test for a timeout."),
    ):
        chains.advance(chain)
        run = Run.objects.filter(labels__chain=chain.pk).latest("pk")
        ended(run, status, detail)
        work.follow_run(run)
    chains.advance(chain)
    return chain


def shoot(browser: Browser, url: str, user: User, paths: dict[str, str]) -> None:
    """Each page wide and narrow, light and dark."""
    for size, (width, height) in SIZES.items():
        for theme, scheme in THEMES.items():
            context = browser.new_context(
                base_url=url, viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
            )
            session = signed_in(user).cookies["sessionid"].value
            context.add_cookies([{"name": "sessionid", "value": session, "url": url}])
            page = context.new_page()
            for name, path in paths.items():
                page.goto(path)
                page.wait_for_selector("html[data-live=yes]")
                page.screenshot(path=FOLDER / f"{name}{size}{theme}.png")
            context.close()


def main() -> None:
    """All of them."""
    state = Path(HOME.name)
    with own_database(state) as url, sync_playwright() as playwright:
        stack = Stack(state, url, DJANGO_SETTINGS_MODULE="codecourier.settings", STATE=str(state))
        try:
            stack.start("web")
            project, user = stack.project()
            paths = seed(project, user)
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
            shoot(browser, stack.url, user, paths)
            browser.close()
        finally:
            stack.stop()


if __name__ == "__main__":
    main()
