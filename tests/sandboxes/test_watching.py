"""Watching a sandbox from a terminal: the conversation for people, events for machines, and a record at the end."""

import json
from contextlib import nullcontext
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from codecourier import up
from codecourier.models import Project
from sandboxes import fleet, readable, watching
from sandboxes.models import Event, Job, Output, Sandbox, Template, Turn
from tests.sandboxes.pages import make
from usage import stock

USED = {"claude-sonnet-5-5": {"input": 1_000, "output": 200, "cache_read": 50_000, "cache_write": 0, "reasoning": 80}}


@pytest.fixture
def claude(db: None) -> Template:
    return Template.objects.create(slug="claude", name="Claude Code", tool="claude", image="claude", needs_mb=512)


def turn_of(sandbox: Sandbox, **fields: Any) -> Turn:
    job = Job.objects.create(sandbox=sandbox, kind="turn", status="running")
    return Turn.objects.create(
        sandbox=sandbox, job=job, prompt="Go", status="running", started_at=timezone.now(), **fields
    )


def says(turn: Turn, kind: str, **data: Any) -> None:
    """As the relay stores an event: the row, and the cursor past it."""
    job = Job.objects.get(turn=turn)
    Job.objects.filter(pk=job.pk).update(events=job.events + 1)
    Event.objects.create(job=job, seq=job.events + 1, t_ms=7, kind=kind, data=data)


def prints(turn: Turn, stream: Output.Stream, data: bytes) -> None:
    job = Job.objects.get(turn=turn)
    Job.objects.filter(pk=job.pk).update(seq=job.seq + 1)
    Output.objects.create(job=job, seq=job.seq + 1, t_ms=7, stream=stream, data=data)


def news(watch: watching.Watch) -> list[tuple[str, Any]]:
    return [(event["event"], event.get("data")) for event in watch.news() if "status" not in event]


# --- what is watched ---


def test_of_an_agent_its_events_are_told_and_not_the_lines_that_they_came_in(project: Project, claude: Template):
    sandbox = make(project, claude)
    turn, watch = turn_of(sandbox), watching.Watch(sandbox)
    prints(turn, Output.Stream.STDOUT, b'{"type": "text"}\n')
    prints(turn, Output.Stream.STDERR, b"a warning\n")
    says(turn, "text", text="Hello")
    assert news(watch) == [("output", b"a warning\n"), ("text", {"text": "Hello"})]
    says(turn, "end", ok=True)
    prints(turn, Output.Stream.STDERR, b"another\n")
    assert news(watch) == [("output", b"another\n"), ("end", {"ok": True})]
    assert news(watch) == []


def test_of_a_script_everything_it_prints_is_told_once(project: Project, template: Template):
    sandbox = make(project, template)
    turn, watch = turn_of(sandbox), watching.Watch(sandbox)
    prints(turn, Output.Stream.STDOUT, b"one\n")
    assert news(watch) == [("output", b"one\n")]
    prints(turn, Output.Stream.STDOUT, b"two\n")
    assert news(watch) == [("output", b"two\n")]


def test_every_event_is_one_line_of_json_with_what_stands_around_it(project: Project, claude: Template):
    sandbox = make(project, claude)
    turn = turn_of(sandbox)
    says(turn, "tool_call", id="t1", name="Bash", input={"command": "ls\nls"})
    prints(turn, Output.Stream.STDERR, b"\xff\n")
    turn.move("succeeded", ended_at=timezone.now())
    lines = [watching.as_json(event) for event in watching.Watch(sandbox).news()]
    assert all("\n" not in line for line in lines)
    found = {event["event"]: event for event in map(json.loads, lines)}
    assert found["tool_call"] == {
        "event": "tool_call", "job": turn.job_id, "seq": 1, "t_ms": 7,
        "data": {"id": "t1", "name": "Bash", "input": {"command": "ls\nls"}},
    }  # fmt: skip
    assert found["output"]["data"] == "\N{REPLACEMENT CHARACTER}\n"
    assert found["turn"]["status"] == "succeeded"


# --- the record ---


@pytest.mark.parametrize(
    ("usage", "tokens", "cost", "complete", "unpriced"),
    [
        (USED, USED, "0.009", True, []),
        (None, None, None, False, []),
        (
            {"stub-model": USED["claude-sonnet-5-5"]},
            {"stub-model": USED["claude-sonnet-5-5"]},
            None,
            False,
            ["stub-model"],
        ),
    ],
)
def test_the_record_has_tokens_and_cost_or_null(
    project: Project, claude: Template, usage: Any, tokens: Any, cost: str | None, complete: bool, unpriced: list[str]
):
    stock.rates()
    sandbox = make(project, claude, "killed", provider="local", tool_version="2.1.330 (Claude Code)")
    turn = turn_of(sandbox)
    turn.move("succeeded", usage=usage)
    record = json.loads(watching.as_json(watching.record(sandbox, turn)))
    assert record["tokens"] == tokens
    assert (record["cost_complete"], record["unpriced"]) == (complete, unpriced)
    assert (record["cost"] is None) == (cost is None)
    assert cost is None or float(record["cost"]) == float(cost)
    assert record["tool_version"] == "2.1.330 (Claude Code)"


def test_people_read_the_same_in_a_line():
    assert readable.tokens(USED) == "51,000 tokens in (50,000 cached), 200 out"
    assert readable.tokens(None) == "tokens unknown"
    said = {"cost": "0.0090000", "cost_complete": True, "unpriced": []}
    assert readable.price(said) == "0.0090 USD"
    assert readable.price(said | {"cost_complete": False, "unpriced": ["m"]}) == "at least 0.0090 USD, no rate for m"
    assert readable.price({"cost": None, "cost_complete": False, "unpriced": ["m"]}) == "no rate for m"


# --- a conversation in a terminal ---


@pytest.mark.parametrize(
    ("kind", "data", "shown"),
    [
        ("text", {"text": "One.\n\nTwo."}, ["", "One.", "", "Two.", ""]),
        ("thinking", {"text": "Hm.\nSo."}, ["~ Hm.", "~ So."]),
        ("tool_call", {"name": "Bash", "input": {"command": "ls -la"}}, ["$ ls -la"]),
        ("tool_call", {"name": "Read", "input": {"file_path": "/etc/hosts"}}, ["> Read /etc/hosts"]),
        ("tool_result", {"output": "a\nb\n", "exit": 3, "error": True}, ["  a", "  b", "  exit status 3"]),
        ("tool_result", {"output": "", "error": True, "exit": None}, ["  failed"]),
        (
            "retry",
            {"attempt": 2, "of": 6, "wait_ms": 4200, "status": 529, "text": "overloaded"},
            ["! The model is asked again after 529 in 4 s (2 of 6)"],
        ),
        ("error", {"text": "No such model"}, ["! No such model"]),
        ("usage", {"model": "m", "input": 1}, []),
        ("raw", {"text": "{}", "bytes": 2}, []),
    ],
)
def test_an_event_reads_as_people_expect(kind: str, data: dict[str, Any], shown: list[str]):
    assert readable.lines(kind, data) == shown


def test_a_long_result_is_cut_and_says_so():
    shown = readable.lines("tool_result", {"output": "\n".join(map(str, range(100)))})
    assert shown[-1] == "  … 88 more lines"
    assert len(shown) == 13


@pytest.mark.parametrize("kind", ["text", "thinking", "tool_call", "tool_result", "retry", "error"])
def test_nothing_that_an_agent_says_moves_the_terminal_and_no_shape_breaks_it(kind: str):
    evil = "a\x1b]52;c;ZXZpbA==\x07b\x1b[2Jc\x9b31md\re\x00"
    shapes: list[Any] = [evil, {"x": evil}, [evil], 5, None, True]
    for shape in shapes:
        names = ("text", "name", "input", "output", "status", "wait_ms", "attempt", "of", "exit", "error")
        text = "\n".join(readable.lines(kind, dict.fromkeys(names, shape)))
        assert not set(text) & {"\x1b", "\x07", "\x9b", "\r", "\x00"}


# --- the command ---


@pytest.fixture
def no_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows only: nothing would bring the sandbox forward."""
    monkeypatch.setattr(up, "stack", lambda say: nullcontext())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"tool": "claude", "effort": "huge"}, "claude knows no effort 'huge'. Known: low, medium, high, max."),
        ({"tool": "script", "effort": "high"}, "script knows no effort 'high'. Known: none: leave it away."),
        ({"tool": "script", "model": "m"}, "The script tool uses no model. Leave --model away."),
        (
            {"tool": "script", "pr": True},
            "A pull request needs a repository at GitHub, and a GitHub key",
        ),
        ({"tool": "claud"}, "There is no tool 'claud'. Known: claude, script."),
    ],
)
def test_what_a_tool_has_no_use_for_is_refused(
    no_stack: None, project: Project, claude: Template, template: Template, options: dict[str, Any], sentence: str
):
    with pytest.raises(CommandError, match=sentence.replace(".", r"\.")) as refusal:
        call_command("launch", "Go", project="rocket", **options)
    assert refusal.value.returncode == 2
    assert not Sandbox.objects.exists()


def test_ctrl_c_stops_the_sandbox_and_waits_for_its_end(
    no_stack: None,
    project: Project,
    claude: Template,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    def stop(sandbox: Sandbox, user: None, reason: str) -> None:
        sandbox.enter("killed", reason=reason)
        sandbox.turns.get().move("interrupted", reason=reason)
        Sandbox.objects.filter(pk=sandbox.pk).update(released_at=timezone.now())

    monkeypatch.setattr(watching.Watch, "events", interrupted)
    monkeypatch.setattr(fleet, "stop", stop)
    with pytest.raises(SystemExit) as exit_status:
        call_command(
            "launch", "Go", project="rocket", tool="claude", model="claude-sonnet-5-5", effort="high", json=True
        )
    assert exit_status.value.code == 130
    made = Sandbox.objects.get()
    assert (made.designer_model, made.effort, made.reason) == ("claude-sonnet-5-5", "high", "user")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (lines[-1]["event"], lines[-1]["turn"], lines[-1]["tokens"]) == ("record", "interrupted", {})
