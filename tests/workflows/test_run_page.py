"""The page of one run over HTTP: every state, what people can do there, and what it costs to make."""

import html
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from codecourier import registries
from codecourier.models import Project, User
from codecourier.registries import Remark
from sandboxes.checkpoints.store import Store
from sandboxes.models import PullRequest, Sandbox, Template
from tests.sandboxes.repositories import commit, git, make, write
from tests.workflows import rows
from tests.workflows.pages import workflow
from workflows import runs
from workflows.models import Run, StepRun

EVIL = "<script>alert(1)</script>"


@pytest.fixture
def claude(db: None) -> Template:
    return Template.objects.create(slug="claude", name="Claude Code", tool="claude", image="claude")


@pytest.fixture
def run(project: Project, member: User) -> Run:
    return rows.make_run(project, member)


def page(client: Client, run: Run, query: str = "") -> str:
    answer = client.get(f"/p/rocket/runs/{run.pk}/?{query}")
    assert answer.status_code == 200
    return html.unescape(answer.content.decode())


def plain(text: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", text).split())


def part(text: str, name: str) -> str:
    """From an element with this id on."""
    return text[text.index(f'id="{name}"') :]


def post(client: Client, run: Run, verb: str, **data: Any) -> Any:
    return client.post(f"/p/rocket/runs/{run.pk}/{verb}/", data)


# --- how it is drawn ---


def test_every_step_is_there_before_it_starts(member_client: Client, project: Project, member: User):
    text = page(member_client, rows.make_run(project, member, "pending", held="It is number 3 in line."))
    assert text.count("step-card is-ghost") == 3
    assert "Repeats until the checker passes, at most 3" in text
    assert "Waiting in line" in text
    assert "It is number 3 in line." in text
    assert "No step has started yet" in text


def test_a_run_that_was_just_launched_says_what_was_pinned(
    member_client: Client, project: Project, member: User, template: Template
):
    made = runs.launch(workflow(project), member, prompt="Mend it", files=[])
    text = page(member_client, made)
    assert text.count("step-card is-ghost") == 2
    assert "It starts as soon as a worker looks at it." in text
    assert "Designer Script" in plain(part(text, "manifest"))


def test_iterations_stand_below_one_another_with_the_verdict_between(member_client: Client, run: Run, claude: Template):
    first = rows.step(run, claude)
    checked = rows.step(run, claude, 1, began=10, answer=rows.verdict(False, rows.finding(), rows.finding()))
    rows.step(run, claude, 0, began=6, took=None, iteration=2, sandbox=first.sandbox)
    text = page(member_client, run)
    assert 'id="round-0-1"' in text
    assert 'id="round-0-2"' in text
    edge = part(text, f"edge-{checked.pk}")
    assert "Sent back 2 findings" in plain(edge[: edge.index("</a>")])
    assert "iteration 2" in plain(text)
    # The checker of the second iteration and the optimizer are still to come.
    assert text.count("step-card is-ghost") == 2


def test_many_iterations_are_folded_unless_one_of_them_is_looked_at(
    member_client: Client, project: Project, claude: Template
):
    run = rows.make_run(project, manifest=rows.loop(most=5))
    made = [rows.step(run, claude, 0, began=14 - n, took=1, iteration=n) for n in range(1, 5)]
    assert '<details class="earlier" id="earlier-0"><summary>2 earlier iterations' in page(member_client, run)
    assert 'id="earlier-0" open' in page(member_client, run, f"step_run={made[0].pk}")


def test_candidates_stand_side_by_side_with_their_tests_and_the_judges_choice(
    member_client: Client, project: Project, claude: Template
):
    run = rows.make_run(project, manifest=rows.manifest(rows.several(2), rows.spec("optimizer")))
    for number, outcome in ((1, "failed"), (2, "succeeded")):
        rows.step(run, claude, candidate=number)
        rows.step(run, claude, kind="test", candidate=number, began=10, status=outcome)
    judge = rows.step(run, claude, kind="judge", began=6, answer=rows.choice("B"))
    text = page(member_client, run, f"step_run={judge.pk}")
    assert text.count("has-lost") == text.count("has-won") == 1
    assert "Test: Failed" in text
    assert "Test: Succeeded" in text
    assert "Chose B" in plain(text)
    answer = plain(part(text, "answer"))
    assert "Its tests cover more ." in answer
    assert "Strength It is short." in answer


def test_a_score_is_shown_with_its_sides(member_client: Client, project: Project, claude: Template):
    run = rows.make_run(project, status="completed", reason="finished", score=82)
    rows.step(run, claude, 3, kind="evaluator", answer=rows.score(82))
    text = page(member_client, run)
    assert "Score 82" in text
    assert plain(part(text, "facts")).count("82") >= 5
    assert "82</strong> of 100" in part(text, "unit-score")


def test_a_retry_says_what_it_took_over(member_client: Client, project: Project, claude: Template, run: Run):
    made = rows.make_run(project, retry_of=run)
    rows.step(made, claude, reused=True)
    text = page(member_client, made)
    assert "Taken over" in text
    assert f"Run {run.pk}</a>, 1 step taken over" in text
    assert f'runs/{made.pk}/">Run {made.pk}' in page(member_client, run)


# --- the step that is looked at ---


def test_the_step_at_work_is_shown_unless_another_is_chosen(member_client: Client, run: Run, claude: Template):
    done = rows.step(run, claude)
    works = rows.step(run, claude, 1, began=5, took=None)
    text = page(member_client, run)
    assert f'data-step="{works.pk}"' in text
    assert f"/sandboxes/{works.sandbox_id}/conversation/" in text
    assert f'ws-connect="/ws/p/rocket/runs/{run.pk}/"' in text
    assert "To Checker, at work now." in text
    chosen = page(member_client, run, f"step_run={done.pk}&tab=told")
    assert f'data-step="{done.pk}"' in chosen
    assert f'ws-connect="/ws/p/rocket/runs/{run.pk}/?step_run={done.pk}"' in chosen
    assert "The task</h1>" in part(chosen, "told")
    assert f'data-step="{works.pk}"' in page(member_client, run, "step_run=nonsense")


def test_a_script_shows_its_output_instead_of_a_conversation(
    member_client: Client, project: Project, template: Template
):
    run = rows.make_run(project, manifest=rows.manifest(rows.spec("checker", "script")))
    row = rows.step(run, template, took=None)
    text = page(member_client, run)
    assert row.turn
    assert f'data-url="/ws/p/rocket/jobs/{row.turn.job_id}/output/"' in text
    assert 'data-conversation=""' in text


def test_a_verdict_leads_to_the_lines_it_is_about(member_client: Client, run: Run, claude: Template):
    row = rows.step(run, claude, 1, answer=rows.verdict(False, rows.finding(), rows.finding("No test.", "", None)))
    answer = part(page(member_client, run), "answer")
    assert f'href="/p/rocket/runs/{run.pk}/changes/?step_run={row.pk}&of=run&note=note-1#note-1"' in answer
    assert "shop.py:2" in answer
    assert "In general" in answer
    assert "Take it off." in answer


def test_a_step_that_waits_for_a_word_says_so(member_client: Client, run: Run, claude: Template):
    Run.objects.update(held="Designer was interrupted. Send it a message to go on, or cancel the run.")
    rows.step(run, claude, took=None, turn_status="interrupted")
    text = page(member_client, run)
    assert "Waits for you" in text
    assert "Send it a message to go on" in part(text, "notice")


def test_a_plan_is_listed(member_client: Client, project: Project, claude: Template):
    run = rows.make_run(project, manifest=rows.manifest(rows.spec("planner")))
    plan = {"summary": "Two things.", "steps": [{"title": "Mend it", "files": ["shop.py"], "detail": "The sign."}]}
    rows.step(run, claude, answer=plan)
    assert "Mend it shop.py The sign." in plain(part(page(member_client, run), "answer"))


# --- how it ends ---


def test_a_failed_run_says_where_why_and_what_to_do(member_client: Client, project: Project, claude: Template):
    run = rows.make_run(project, status="failed", reason="step_failed", detail="A step failed: it ran out of tokens.")
    row = rows.step(run, claude, status="failed", detail="It ran out of tokens.")
    notice = part(page(member_client, run), "notice")
    assert "Failed at Designer, iteration 1" in notice
    assert "it ran out of tokens" in notice
    assert f'href="?step_run={row.pk}"' in notice
    text = page(member_client, run)
    assert "Retry from here" in text
    assert "Run again" in text
    assert "This run left no work to go on from." in text


def test_one_that_is_not_approved_leads_to_the_findings(member_client: Client, project: Project, claude: Template):
    run = rows.make_run(project, status="failed", reason="not_approved", detail="The checker did not approve it.")
    row = rows.step(run, claude, 1, iteration=3, answer=rows.verdict(False, rows.finding()))
    text = page(member_client, run)
    assert "Not approved" in part(text, "notice")
    assert f'<a href="?step_run={row.pk}">See the findings' in text
    assert "Not passed" in part(text, f"edge-{row.pk}")


@pytest.mark.parametrize("status", ["pending", "running", "completed", "failed", "cancelled"])
@pytest.mark.parametrize("evaluate", [True, False])
def test_every_state_has_a_page(member_client: Client, project: Project, claude: Template, status: str, evaluate: bool):
    run = rows.make_run(project, status=status, manifest=rows.loop(evaluate=evaluate), detail="Why.")
    text = page(member_client, run)
    assert (f'runs/{run.pk}/cancel/"' in text) == (status in Run.OPEN)
    assert (f'runs/{run.pk}/again/"' in text) == (status not in Run.OPEN)
    if status != "pending":
        for each in StepRun.Status.values:
            StepRun.objects.all().delete()
            rows.step(run, claude, status=each)
            assert f'data-state="{each}"' in part(page(member_client, run), "pipeline")


def test_a_run_without_its_workflow_sandbox_or_author_still_has_one(
    member_client: Client, project: Project, claude: Template
):
    run = rows.make_run(project, status="completed")
    rows.step(run, claude)
    Sandbox.objects.all().delete()
    assert "CodeCourier" in page(member_client, run)


def test_the_pull_request_is_shown_with_its_state(member_client: Client, project: Project, claude: Template):
    run = rows.make_run(project, status="completed", repository_url="https://github.com/acme/shop.git")
    row = rows.step(run, claude)
    assert row.sandbox
    PullRequest.objects.create(
        sandbox=row.sandbox, project=project, branch=run.work_branch, status="draft", number=12, title="Cheaper",
        remote_url=run.repository_url, wanted_commit="a" * 40, url="https://github.com/acme/shop/pull/12", base="main",
    )  # fmt: skip
    work = plain(part(page(member_client, run), "work"))
    assert "Draft" in work
    assert "#12 Cheaper into main" in work
    assert "Mark ready for review" in work


def test_where_it_came_from_is_told_by_other_apps(member_client: Client, run: Run, monkeypatch: pytest.MonkeyPatch):
    told = Remark("Issue", "Orders get dearer", url="/p/rocket/issues/7/")
    monkeypatch.setattr(registries, "origins", [lambda row: told if row.pk == run.pk else None])
    assert '<a href="/p/rocket/issues/7/">Orders get dearer</a>' in page(member_client, run)


@pytest.mark.parametrize(
    ("labels", "link"),
    [
        ({"schedule_id": 3, "schedule": "Every <b>week"}, '"/p/rocket/schedules/3/">Every &lt;b&gt;week'),
        ({"issue": 7}, '"/p/rocket/issues/7/">Issue 7'),
        ({"issue": 7, "chain": 2, "link": 1}, '"/p/rocket/issues/chains/2/">Chain 2, link 2'),
    ],
)
def test_the_way_back_to_what_started_it(member_client: Client, project: Project, labels: dict[str, Any], link: str):
    run = rows.make_run(project, labels=labels)
    assert link in member_client.get(f"/p/rocket/runs/{run.pk}/").content.decode()


# --- who may, and what is never trusted ---


def test_a_stranger_finds_nothing(stranger_client: Client, run: Run, claude: Template):
    rows.step(run, claude)
    for path in ("", "changes/", "changes/file/?path=a", "changes/patch/"):
        assert stranger_client.get(f"/p/rocket/runs/{run.pk}/{path}").status_code == 404
    for verb in ("cancel", "again", "retry", "score", "say", "open"):
        assert post(stranger_client, run, verb, prompt="x", step="0").status_code == 404
    assert not Run.objects.filter(cancel_asked=True).exists()


def test_a_run_of_another_project_is_not_there(member_client: Client):
    other = rows.make_run(Project.objects.create(name="Other", slug="other"))
    assert member_client.get(f"/p/rocket/runs/{other.pk}/").status_code == 404


def test_nothing_that_an_agent_wrote_is_markup(member_client: Client, project: Project, claude: Template):
    evil = rows.spec("checker", name=EVIL, persona=EVIL, model=EVIL)
    drawn = rows.manifest(rows.spec("designer"), evil)
    run = rows.make_run(project, title=EVIL, prompt=EVIL, held=EVIL, manifest=drawn)
    rows.step(run, claude, output=EVIL, prompt=EVIL, detail=EVIL)
    answer = rows.verdict(False, rows.finding(EVIL, f"{EVIL}.py", 3), summary=EVIL)
    row = rows.step(run, claude, 1, answer=answer, detail=EVIL)
    broken = rows.step(run, claude, 1, iteration=2, answer={"verdict": EVIL})
    for query in ("", f"step_run={row.pk}&tab=answer", f"step_run={broken.pk}", "tab=told"):
        shown = member_client.get(f"/p/rocket/runs/{run.pk}/?{query}").content.decode()
        assert "<script>alert" not in shown
        assert "&lt;script&gt;alert" in shown


# --- what people do ---


def test_cancel_again_retry_and_score(member_client: Client, project: Project, member: User, claude: Template):
    run = rows.make_run(project)
    post(member_client, run, "cancel")
    run.refresh_from_db()
    assert (run.cancel_asked, run.cancelled_by) == (True, member)
    over = rows.make_run(project, status="completed")
    row = rows.step(over, claude)
    Run.objects.filter(pk=over.pk).update(checkpoint=rows.saved(row))
    made = [post(member_client, over, "again", request_key="k").url for _ in range(2)]
    assert made[0] == made[1] != f"/p/rocket/runs/{over.pk}/"
    retried = post(member_client, over, "retry", step="1", request_key="k").url
    assert retried not in made
    assert Run.objects.latest("pk").step_runs.get().reused
    post(member_client, over, "score")
    assert Run.objects.get(pk=over.pk).score_asked


def test_what_can_not_be_done_is_said(member_client: Client, project: Project):
    over = rows.make_run(project, status="failed")
    for verb, sentence in (
        ("cancel", "This run is over already."), ("score", "This run left no work that could be scored."),
        ("retry", "This run has no such step."), ("open", "This run left no work that could be pushed."),
        ("say", "This run left no work to go on from."),
    ):  # fmt: skip
        url = f"/p/rocket/runs/{over.pk}/{verb}/"
        answer = member_client.post(url, {"step": "99", "prompt": "x"}, headers={"HX-Request": "true"})
        assert answer.status_code == 422
        assert sentence in answer.content.decode()
        assert 'id="pipeline" hx-swap-oob="morph"' in answer.content.decode()
        post(member_client, over, verb, step="99", prompt="x")
        assert sentence in page(member_client, over)
    assert post(member_client, over, "nonsense").status_code == 404
    running = rows.make_run(project)
    assert "is not over yet" in page(member_client, post_and(member_client, running, "retry", step="0"))


def post_and(client: Client, run: Run, verb: str, **data: Any) -> Run:
    post(client, run, verb, **data)
    return run


def test_a_message_goes_to_the_agent_at_work_and_after_the_end_to_a_new_one(
    member_client: Client, project: Project, claude: Template
):
    run = rows.make_run(project, manifest=rows.manifest(rows.spec("designer", template=claude.pk)))
    row = rows.step(run, claude, took=None)
    assert row.sandbox
    post(member_client, run, "say", prompt="Mind the tax.\r\n")
    assert row.sandbox.turns.latest("pk").prompt == "Mind the tax."
    Run.objects.update(status="completed", checkpoint=rows.saved(row))
    assert "A message starts a new sandbox that goes on with its result" in page(member_client, run)
    answer = post(member_client, run, "say", prompt="And the docs.")
    made = Sandbox.objects.latest("pk")
    assert answer.url == f"/p/rocket/sandboxes/{made.pk}/"
    assert (made.work_branch, made.continues) == (run.work_branch, StepRun.objects.get().checkpoint)
    assert f"/sandboxes/{made.pk}/" in part(page(member_client, run), "facts")


# --- changes ---


@pytest.fixture
def clone(tmp_path: Path, settings: Any) -> Path:
    settings.STATE = tmp_path / "state"
    return make(tmp_path / "clone", shop__py="def total(prices):\n    return sum(prices)\n")


@pytest.fixture
def keep(project: Project, clone: Path) -> Callable[..., str]:
    """Commits what is written into the clone into the portal's repository."""

    def take(**files: str) -> str:
        write(clone, **files)
        commit(clone, "More")
        head = git(clone, "rev-parse", "HEAD")
        store = Store.of(project)
        with store.locked():
            store.git("fetch", "-q", clone, f"HEAD:refs/kept/{head}")
        return head

    return take


def test_changes_of_a_step_of_the_run_and_what_was_dropped(
    member_client: Client, project: Project, claude: Template, clone: Path, keep: Callable[..., str]
):
    run = rows.make_run(project, base_commit=git(clone, "rev-parse", "HEAD"))
    first = rows.step(run, claude)
    one = rows.saved(first, keep(shop__py="def total(prices):\n    return -sum(prices)\n"))
    second = rows.step(run, claude, 0, began=6, iteration=2, base=one, sandbox=first.sandbox)
    two = rows.saved(second, keep(tax__py="TAX = 1\n"))
    answer = rows.verdict(False, rows.finding(), rows.finding(EVIL, "gone.py", 7))
    checker = rows.step(run, claude, 1, began=2, iteration=2, base=two, checkpoint=two, answer=answer)
    rows.saved(checker, keep(notes__txt="mine\n"), "dropped")

    def shown(row: StepRun, of: str = "") -> str:
        address = f"/p/rocket/runs/{run.pk}/changes/?step_run={row.pk}&of={of}"
        return member_client.get(address, headers={"HX-Request": "true"}).content.decode()

    assert "shop.py" not in shown(second)
    assert "TAX" in shown(second)
    assert "shop.py" in shown(second, "run")
    looked = shown(checker)
    assert 'id="note-1"' in looked
    assert looked.index("line-come") < looked.index('id="note-1"')
    assert looked.index('id="note-2"') < looked.index("changes-tree")
    assert "<script>" not in looked
    assert "These changes were dropped" in shown(checker, "dropped")
    assert "notes.txt" in shown(checker, "dropped")
    assert "1 file changed by Checker was dropped" in plain(page(member_client, run, f"step_run={checker.pk}"))
    base = f"/p/rocket/runs/{run.pk}/changes/"
    lines = member_client.get(f"{base}file/?step_run={checker.pk}&of=run&path=shop.py").content.decode()
    assert 'id="note-1"' in lines
    patch = member_client.get(f"{base}patch/?step_run={second.pk}")
    assert "+TAX = 1" in patch.getvalue().decode()
    assert "Back to the run" in member_client.get(base).content.decode()


def test_nothing_saved_is_said(member_client: Client, run: Run, claude: Template):
    rows.step(run, claude, took=None)
    for path in ("", "file/?path=a", "patch/"):
        answer = member_client.get(f"/p/rocket/runs/{run.pk}/changes/{path}", follow=True)
        assert answer.status_code == 200
    assert "Nothing is saved yet" in member_client.get(f"/p/rocket/runs/{run.pk}/changes/").content.decode()


# --- what it costs to make ---


def large(project: Project, template: Template, iterations: int, count: int) -> Run:
    """Every iteration with candidates, tests, a judge and a checker that is not content."""
    drawn = rows.manifest(rows.several(count), rows.spec("checker"), block=(0, 1), most=10)
    run = rows.make_run(project, manifest=drawn)
    for iteration in range(1, iterations + 1):
        for number in range(1, count + 1):
            rows.step(run, template, candidate=number, iteration=iteration)
            rows.step(run, template, kind="test", candidate=number, iteration=iteration)
        rows.step(run, template, kind="judge", iteration=iteration, answer=rows.choice("A"))
        rows.step(run, template, 1, iteration=iteration, answer=rows.verdict(False, rows.finding()))
    return run


def test_its_queries_do_not_grow_with_its_steps(member_client: Client, project: Project, claude: Template):
    def queries(run: Run) -> int:
        with CaptureQueriesContext(connection) as found:
            page(member_client, run)
        return len(found)

    small, big = large(project, claude, 1, 2), large(project, claude, 3, 3)
    page(member_client, small)
    assert queries(small) == queries(big) <= 20


def test_fifty_candidates_are_there_soon(member_client: Client, project: Project, claude: Template):
    run = large(project, claude, 10, 5)
    page(member_client, run)
    # The time that it computes, which a busy machine does not change: about 0.17 s, and the database takes 0.03 s.
    began = time.thread_time()
    text = page(member_client, run)
    assert time.thread_time() - began < 0.3
    assert text.count('id="card-') == 10 * (5 + 5 + 2)
