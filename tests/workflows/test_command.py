"""`manage.py run`: bad calls are refused, progress is told, the exit status says how it went."""

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from codecourier import up
from codecourier.models import Project
from sandboxes import watching
from sandboxes.models import Event, Sandbox, Template
from tests.workflows import rows
from tests.workflows.pages import workflow
from workflows.models import Run, StepRun, Workflow
from workflows.watching import Watch as RunWatch

Scene = Callable[[Run], object]


@pytest.fixture
def loop(project: Project, template: Template, monkeypatch: pytest.MonkeyPatch) -> Workflow:
    """Rows only: nothing would bring a run forward."""
    monkeypatch.setattr(up, "stack", lambda say: nullcontext())
    return workflow(project)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"prompt": " "}, "The prompt is empty."),
        ({"project": "moon"}, "There is no project 'moon'. Known: rocket."),
        ({"workflow": "Loup"}, "There is no workflow 'Loup'. Known: "),
        ({"repo": "ftp://x"}, "Use an https or ssh URL"),
        ({"branch": "-b"}, "can't be the name of a branch"),
    ],
)
def test_a_bad_call_is_refused_in_a_sentence(loop: Workflow, asked: dict[str, str], sentence: str):
    call = {"workflow": "Loop", "prompt": "Go", "project": "rocket", **asked}
    with pytest.raises(CommandError) as refusal:
        call_command("run", call.pop("workflow"), call.pop("prompt"), **call)
    assert sentence in str(refusal.value)
    assert refusal.value.returncode == 2
    assert not Run.objects.exists()


def played(monkeypatch: pytest.MonkeyPatch, *scenes: Scene) -> None:
    """While the command waits for news, these happen one after another; then nothing may be waited for."""
    left = list(scenes)

    @contextmanager
    def listening() -> Iterator[Callable[[], None]]:
        def wait() -> None:
            left.pop(0)(Run.objects.get())

        yield wait

    monkeypatch.setattr(watching, "listening", listening)


def begins(run: Run) -> None:
    """The first step works, and its agent says something."""
    run.move("running", started_at=timezone.now())
    claude = Template.objects.create(slug="claude", name="Claude", tool="claude", image="claude")
    row = rows.step(run, claude, took=None, status="waiting")
    row.move("running")
    Event.objects.exclude(kind="text").delete()
    Event.objects.update(data={"text": "I \x1b[2Jbegin."})


def passes(run: Run) -> None:
    run.step_runs.get().move("succeeded", answer={"verdict": "pass", "summary": "All good."})


def ends(status: str) -> Scene:
    def end(run: Run) -> None:
        run.move(status, detail="As it is.", ended_at=timezone.now())
        Sandbox.objects.update(status="killed", running_since=None, released_at=timezone.now())
        Run.objects.update(cleaned_at=timezone.now())

    return end


def call(*words: str, **options: object) -> int:
    """The exit status."""
    try:
        call_command("run", *words, project="rocket", **options)
    except SystemExit as end:
        return int(str(end.code))
    return 0


def test_progress_is_told_until_the_end(
    loop: Workflow, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    played(monkeypatch, begins, passes, ends("completed"))
    assert call("Loop", "Mend it") == 0
    said = capsys.readouterr()
    made = Run.objects.get()
    assert (made.source, made.prompt, made.created_by) == ("command", "Mend it", None)
    assert said.out.split() == ["I", "begin."]
    assert "\x1b" not in said.out + said.err
    for line in ("· Designer: running", "· --- Designer", "· Designer: succeeded (pass): All good.", "completed"):
        assert line in said.err


def test_machines_get_one_event_a_line_and_the_record_last(
    loop: Workflow, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    played(monkeypatch, begins, passes, ends("completed"))
    assert call(str(loop.pk), "Mend it", json=True) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["status"] for event in events if event["event"] == "run"] == ["pending", "running", "completed"]
    steps = [event for event in events if event["event"] == "step"]
    assert [(event["step"], event["status"]) for event in steps] == [("Designer", "running"), ("Designer", "succeeded")]
    assert steps[-1]["answer"] == {"verdict": "pass", "summary": "All good."}
    spoken = next(event for event in events if event["event"] == "text")
    assert (spoken["step"], spoken["data"]) == ("Designer", {"text": "I \x1b[2Jbegin."})
    record = events[-1]
    assert (record["event"], record["status"], record["pull_request"]) == ("record", "completed", None)
    assert [step["status"] for step in record["steps"]] == ["succeeded"]


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_only_what_is_completed_is_a_success(loop: Workflow, monkeypatch: pytest.MonkeyPatch, status: str):
    played(monkeypatch, begins, ends(status))
    assert call("Loop", "Mend it") == 1


def test_the_prompt_comes_from_stdin(loop: Workflow, monkeypatch: pytest.MonkeyPatch):
    played(monkeypatch, begins, ends("completed"))
    monkeypatch.setattr("sys.stdin", io.StringIO("Mend\nit\n"))
    assert call("Loop", "-") == 0
    assert Run.objects.get().prompt == "Mend\nit\n"


def test_ctrl_c_cancels_and_waits_for_the_end(loop: Workflow, monkeypatch: pytest.MonkeyPatch):
    def interrupt(run: Run) -> None:
        raise KeyboardInterrupt

    played(monkeypatch, begins, interrupt, ends("cancelled"))
    assert call("Loop", "Mend it") == 130
    assert Run.objects.get().cancel_asked


def test_what_a_retry_took_over_is_not_told_again(loop: Workflow, template: Template, project: Project):
    made = rows.make_run(project)
    rows.step(made, template)
    StepRun.objects.update(reused=True)
    assert not list(RunWatch(made).news())
