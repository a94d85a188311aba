"""`uv run python -m tests.run_pictures [FOLDER [NAME...]]`: pages of runs as a person sees them, into docs/screenshots.

The runs are rows as they would stand in the middle of their work; only the web process is real. Chromium takes each
page wide and narrow, light and dark.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import django

# The settings are read once, so the folder has to be there before.
HOME = tempfile.TemporaryDirectory(prefix="pictures-", ignore_cleanup_errors=True)
os.environ |= {
    "TEST_STATE": HOME.name,
    "STATE": HOME.name,
    "DJANGO_SETTINGS_MODULE": "tests.settings",
    "DJANGO_ALLOW_ASYNC_UNSAFE": "true",
}
django.setup()

# The models of these are there only now.
from django.conf import settings  # noqa: E402
from django.utils import timezone  # noqa: E402
from playwright.sync_api import Page, sync_playwright  # noqa: E402

from codecourier.models import Project, User  # noqa: E402
from personas import stock as persona_stock  # noqa: E402
from sandboxes.checkpoints.store import Store  # noqa: E402
from sandboxes.models import Event, PullRequest, Template, Turn  # noqa: E402
from tests.pictures import FOLDER, SIZES, THEMES, window  # noqa: E402
from tests.sandboxes.repositories import commit, git, make, write  # noqa: E402
from tests.stack import Stack, own_database  # noqa: E402
from tests.workflows import rows  # noqa: E402
from usage import stock  # noqa: E402
from workflows import stock as workflow_stock  # noqa: E402
from workflows.models import Firing, Run, Schedule, StepRun, Workflow  # noqa: E402

REPOSITORY = "https://github.com/acme/corner-shop.git"
BEFORE = '''"""What an order costs."""


def total(prices, discount=0):
    return sum(prices) * (1 + discount / 100)
'''
BETWEEN = BEFORE.replace("1 + discount", "1 - discount")
AFTER = BETWEEN.replace(
    "    return", '    if not 0 <= discount <= 100:\n        raise ValueError("0 to 100")\n    return'
)
TEST = "from shop import total\n\n\ndef test_a_discount_makes_it_cheaper():\n    assert total([100], 20) == 80\n"
PROMPT = """A discount makes orders **dearer** instead of cheaper.

- Find out why, and mend the cause.
- Show with a test that a discount of 20 % makes an order of 100 cost 80.
"""
SAID = """The sign was wrong: a discount was *added*. Now it is taken off.

```diff
-    return sum(prices) * (1 + discount / 100)
+    return sum(prices) * (1 - discount / 100)
```
"""
EVENTS: list[tuple[str, dict[str, Any]]] = [
    ("text", {"text": "I read the change and run it with **discounts at the edges**."}),
    ("tool_call", {"id": "1", "name": "shell", "input": {"command": "git diff main --stat && python -m pytest -q"}}),
    ("tool_result", {"id": "1", "output": "1 passed", "error": False, "exit": 0, "seconds": 2.4}),
    ("tool_call", {"id": "2", "name": "shell", "input": {"command": "python -c 'import shop; shop.total([9], 130)'"}}),
    ("tool_result", {"id": "2", "output": "", "error": False, "exit": 0, "seconds": 0.2}),
    ("text", {"text": "A discount above 100 % is still taken: an order would *pay the customer*."}),
]


class Scene:
    """A project with a repository, and runs in it."""

    def __init__(self, project: Project, user: User, folder: Path) -> None:
        self.project, self.user = project, user
        self.template, self.script = (Template.objects.get(slug=slug) for slug in ("claude", "script"))
        self.clone = make(folder, shop__py=BEFORE)
        self.base = git(self.clone, "rev-parse", "HEAD")

    def keep(self, **files: str) -> str:
        """A commit of these, in the portal's repository."""
        write(self.clone, **files)
        commit(self.clone, "More")
        head, store = git(self.clone, "rev-parse", "HEAD"), Store.of(self.project)
        with store.locked():
            store.git("fetch", "-q", self.clone, f"HEAD:refs/kept/{head}")
        return head

    def run(self, status: str = "running", **fields: Any) -> Run:
        """One of them."""
        given = {
            "prompt": PROMPT, "repository_url": REPOSITORY, "branch": "main", "base_commit": self.base,
            "checker_instructions": "Try discounts at the edges: 0, 100, and more.", **fields,
        }  # fmt: skip
        made = rows.make_run(self.project, self.user, status, **given)
        Run.objects.filter(pk=made.pk).update(work_branch=f"codecourier/run-{made.pk}-discounts")
        made.refresh_from_db()
        return made

    def step(self, run: Run, number: int = 0, **fields: Any) -> StepRun:
        """One of its steps."""
        given = {
            "prompt": f"# The task\n\n{PROMPT}\n# Your part: do it\n\nDo the task, run the tests, commit.",
            **fields,
        }
        return rows.step(run, self.template, number, **given)

    def loop(self) -> tuple[Run, StepRun, StepRun]:
        """In its second iteration, with the first one's verdict."""
        run = self.run(cap_usd=5)
        first = self.step(run, output=SAID)
        one = rows.saved(first, self.keep(shop__py=BETWEEN, test_shop__py=TEST))
        found = [
            rows.finding("A discount of **130 %** makes the total negative: an order would pay the customer.", line=5),
            {**rows.finding("Nothing tests a discount of 0 or 100.", "test_shop.py", 4), "severity": "medium"},
            {**rows.finding("The README still shows the old prices.", "README.md", None), "severity": "low"},
        ]
        said = rows.verdict(False, *found, summary="The sign is right now, but the edges are open.")
        checked = self.step(run, 1, began=10, took=2.5, answer=said, base=one, checkpoint=one)
        rows.saved(checked, self.keep(probe__py="print(1)\n", notes__txt="mine\n"), "dropped")
        git(self.clone, "rm", "-q", "probe.py", "notes.txt")
        again = self.step(run, began=7, took=3, iteration=2, base=one, sandbox=first.sandbox, output=SAID)
        two = rows.saved(again, self.keep(shop__py=AFTER))
        works = self.step(run, 1, began=3.5, took=None, iteration=2, base=two)
        self.talk(works)
        return run, works, checked

    def talk(self, row: StepRun) -> None:
        """Something to read in its conversation."""
        assert row.turn
        assert row.turn.job_id
        Turn.objects.filter(pk=row.turn.pk).update(prompt=row.prompt)
        Event.objects.filter(job=row.turn.job_id).delete()
        for seq, (kind, data) in enumerate(EVENTS, 1):
            Event.objects.create(job_id=row.turn.job_id, seq=seq, t_ms=900 * seq, kind=kind, data=data)

    def best_of(self) -> tuple[Run, StepRun]:
        """Completed: three candidates, a judge, a polish, a score, a pull request."""
        drawn = rows.manifest(rows.several(3), rows.spec("optimizer"), evaluate=True)
        run = self.run("completed", manifest=drawn, score=88, reason="finished", detail="All steps are done.")
        commits = [self.keep(shop__py=text) for text in (BETWEEN, AFTER, BETWEEN)]
        for number, left in enumerate(commits, 1):
            row = self.step(run, candidate=number, took=2 + number * 0.6)
            rows.saved(row, left)
            bad = number == 3
            status = "failed" if bad else "succeeded"
            self.step(run, kind="test", candidate=number, began=9, took=0.4, status=status)
        said = {
            "choice": "B", "reason": "B is the only one that refuses discounts that make no sense; its diff is small.",
            "candidates": [
                {"candidate": "A", "strength": "The smallest diff.", "weakness": "Takes discounts above 100 %."},
                {"candidate": "B", "strength": "Refuses what is out of range.", "weakness": "One more branch."},
            ],
        }  # fmt: skip
        judge = self.step(run, kind="judge", began=8, took=1.2, answer=said)
        last = self.step(
            run, 1, began=6, took=2.5, base=StepRun.objects.get(run=run, kind="step", candidate=2).checkpoint
        )
        final = rows.saved(last, self.keep(shop__py=AFTER.replace("0 to 100", "A discount is 0 to 100 %.")))
        self.step(run, 2, kind="evaluator", began=3, took=1.4, answer=rows.score(88), base=final, checkpoint=final)
        assert last.sandbox
        Run.objects.filter(pk=run.pk).update(checkpoint=final)
        PullRequest.objects.create(
            sandbox=last.sandbox, project=self.project, branch=run.work_branch, base="main", status="open", number=128,
            title="Make discounts cheaper again", remote_url=REPOSITORY, wanted_commit=final.commit,
            url="https://github.com/acme/corner-shop/pull/128",
            checks=[{"name": "test", "status": "completed", "conclusion": "success", "url": ""}],
        )  # fmt: skip
        return run, judge

    def not_approved(self) -> Run:
        """Failed after three iterations."""
        said = "The checker did not approve the work. Checker, iteration 3: an empty order still crashes."
        run = self.run("failed", reason="not_approved", detail=said, title="Empty orders crash the checkout")
        for iteration in range(1, 4):
            began = 15 - 4 * iteration + 3
            one = rows.saved(
                self.step(run, began=began, took=2, iteration=iteration), self.keep(x__py=f"{iteration}\n")
            )
            found = [rows.finding("`total([])` raises.", "x.py", 1)] * (4 - iteration)
            self.step(
                run, 1, began=began - 2, took=1.5, iteration=iteration, base=one, checkpoint=one,
                answer=rows.verdict(False, *found, summary="An empty order still crashes."),
            )  # fmt: skip
            Run.objects.filter(pk=run.pk).update(checkpoint=one)
        return run

    def built(self) -> tuple[Workflow, Schedule]:
        """The stock workflows, one of them with candidates, all runs so far by it and by a schedule."""
        for welcome in (persona_stock.welcome, workflow_stock.welcome):
            welcome(self.project)
        flow = Workflow.objects.get(project=self.project, name="Designer and checker, then optimizer")
        first = flow.steps.all()[0]
        first.candidates, first.test_script = [first.persona_id] * 2, "python -m pytest -q"
        first.save()
        Run.objects.update(workflow=flow)
        planned = Schedule.objects.create(
            project=self.project, workflow=flow, name="Weekly clean-up", created_by=self.user, every="weekly",
            prompt="Update all dependencies, one by one, and see that the tests pass.", zone="Europe/Berlin",
        )  # fmt: skip
        planned.plan(timezone.now())
        planned.save()
        for run in Run.objects.filter(title__startswith="Weekly"):
            Firing.objects.create(schedule=planned, planned_at=run.created_at, outcome="started", run=run)
        why = "Run 4, Weekly clean-up, still went on."
        Firing.objects.create(schedule=planned, planned_at=timezone.now(), outcome="skipped", detail=why)
        return flow, planned

    def past(self) -> None:
        """Some of last week."""
        for day in range(6, 0, -1):
            at = timezone.now() - timedelta(days=day)
            end = at + timedelta(minutes=8 + day)
            self.run(
                "completed", title="Weekly clean-up", source="schedule", created_at=at, started_at=at, ended_at=end
            )

    def waiting(self) -> list[Run]:
        """One that waits for a word, one in line, one that failed."""
        held = "Designer was interrupted. Send it a message to go on, or cancel the run."
        paused = self.run(held=held, title="Show prices with tax")
        self.step(paused, took=None, turn_status="interrupted")
        line = "As many runs are running as may at once. It is number 2 in line."
        queued = self.run("pending", title="Translate the receipts", held=line, source="issue")
        why = (
            "A step failed, and the steps after it need its work. Designer, iteration 1: the model provider refused it."
        )
        broken = self.run("failed", reason="step_failed", detail=why, title="Round to five cents")
        self.step(broken, status="failed", detail="The model provider refused the key (401). Set another one.")
        return [paused, queued, broken]


@contextmanager
def seeded(state: Path) -> Iterator[tuple[Stack, dict[str, str], User]]:
    """The web process with its runs; pages by the names of their pictures."""
    with own_database(state) as url:
        env = {"DJANGO_SETTINGS_MODULE": "codecourier.settings", "STATE": str(state), "CODECOURIER_PROCESS": "web"}
        stack = Stack(state, url, **env)
        try:
            stack.start("web")
            settings.STATE = state
            stock.rates()
            project, user = stack.project()
            project.name, project.repository_url = "Corner shop", REPOSITORY
            project.save()
            yield stack, pages(Scene(project, user, state / "clone")), user
        finally:
            stack.stop()


def pages(scene: Scene) -> dict[str, str]:
    """What is taken."""
    scene.past()
    loop, works, checked = scene.loop()
    best, judge = scene.best_of()
    failed, (paused, queued, broken) = scene.not_approved(), scene.waiting()
    flow, planned = scene.built()
    at = f"/p/{scene.project.slug}/"
    return {
        "runs": f"{at}runs/",
        "workflows": f"{at}workflows/",
        "workflow": f"{at}workflows/{flow.pk}/",
        "workflow-builder": f"{at}workflows/{flow.pk}/edit/",
        "workflow-launch": f"{at}workflows/{flow.pk}/run/?from={loop.pk}",
        "schedules": f"{at}schedules/",
        "schedule": f"{at}schedules/{planned.pk}/",
        "run": f"{at}runs/{loop.pk}/",
        "run-findings": f"{at}runs/{loop.pk}/?step_run={checked.pk}&tab=answer",
        "run-changes": f"{at}runs/{loop.pk}/?step_run={checked.pk}&tab=changes",
        "run-told": f"{at}runs/{loop.pk}/?step_run={works.pk}&tab=told",
        "run-candidates": f"{at}runs/{best.pk}/?step_run={judge.pk}",
        "run-completed": f"{at}runs/{best.pk}/",
        "run-not-approved": f"{at}runs/{failed.pk}/",
        "run-waits": f"{at}runs/{paused.pk}/",
        "run-pending": f"{at}runs/{queued.pk}/",
        "run-failed": f"{at}runs/{broken.pk}/",
        "dashboard": at,
    }


def take(page: Page, path: str, target: Path, *, whole: bool) -> None:
    """One picture, once all is there: elsewhere than in the docs of the whole page."""
    page.goto(path)
    page.wait_for_selector("html[data-live=yes]")
    if "tab=changes" in path:
        page.locator("#changes").scroll_into_view_if_needed()
        page.wait_for_selector("#changes .line-note")
    page.screenshot(path=target, full_page=whole)


def main() -> None:
    """All of them, or with names after the folder only those."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    wanted = set(sys.argv[2:])
    with seeded(Path(HOME.name)) as (stack, paths, user), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for size in SIZES:
            for theme in THEMES:
                page = window(browser, stack.url, user, size, theme)
                for name, path in paths.items():
                    if not wanted or name in wanted:
                        take(page, path, folder / f"{name}{size}{theme}.png", whole=folder != FOLDER)
                page.context.close()
        browser.close()


if __name__ == "__main__":
    main()
