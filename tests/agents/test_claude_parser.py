"""Claude Code's lines as events, and its ends as verdicts, from what the real CLI printed."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personas.briefing import Briefing, Command, Skill
from sandboxes.agents import AGENTS, Endpoint, Exit, Found, Task
from sandboxes.transcript import EventRow
from tests.agents.reading import captured, fresh, of_kind, read, used

CLAUDE = AGENTS["claude"]
MODEL = "claude-sonnet-4-5"
NAMES = ("first", "second", "401", "cut", "flaky", "int", "nokey", "stall", "subagent", "term")
LEAVES = st.none() | st.booleans() | st.floats() | st.integers() | st.text()
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=6)


def events(name: str) -> list[EventRow]:
    return read("claude", captured(f"claude-{name}"))


def found(name: str, stderr: str = "") -> Found:
    rows = events(name)
    end = of_kind(rows, "end")
    return Found(end[-1] if end else None, tuple(of_kind(rows, "error")), stderr)


def tokens(**numbers: int) -> dict[str, int]:
    return dict.fromkeys(("input", "output", "cache_read", "cache_write", "reasoning"), 0) | numbers


def test_a_first_turn_is_told_from_its_session_to_its_end() -> None:
    rows = events("first")
    kinds = [row.kind for row in rows if row.kind != "usage"]
    assert kinds == ["session", "thinking", "tool_call", "tool_result", "tool_call", "tool_result", "text", "end"]
    assert rows[0].data == {"id": "11111111-1111-4111-8111-111111111111", "model": MODEL, "version": "2.1.330"}
    call, result = of_kind(rows, "tool_call")[1], of_kind(rows, "tool_result")[1]
    assert call["name"] == "Bash"
    assert call["input"] == {"command": "cat a.txt; echo two >> b.txt"}
    assert result == {"id": call["id"], "output": "hello", "error": False, "exit": None, "seconds": 0.0}
    assert of_kind(rows, "text") == [{"text": "All done now."}]
    assert rows[-1].data["ok"] is True


def test_a_tool_takes_from_its_call_to_its_result() -> None:
    made = fresh("claude")
    for number, line in enumerate(captured("claude-first").splitlines(keepends=True)):
        made.take(number * 500, line)
    calls = [row.t for row in made.rows if row.kind == "tool_call"]
    results = [row for row in made.rows if row.kind == "tool_result"]
    assert [row.data["seconds"] for row in results] == [
        (row.t - call) / 1000 for row, call in zip(results, calls, strict=True)
    ]
    assert all(row.data["seconds"] > 0 for row in results)


def test_what_streams_grows_until_it_is_whole() -> None:
    made, drafts = fresh("claude"), []
    for line in captured("claude-first").splitlines(keepends=True):
        made.take(0, line)
        if made.draft and made.draft["kind"] == "text":
            drafts.append(made.draft["text"])
    assert drafts == ["All ", "All done", "All done now", "All done now."]
    assert made.draft == {}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("first", tokens(input=3000, output=123, cache_read=900, cache_write=600)),
        ("second", tokens(input=2000, output=81, cache_read=600, cache_write=400)),
        ("flaky", tokens(input=1000, output=40, cache_read=300, cache_write=200)),
        # What the server reported of two broken streams and of the whole answer after them.
        ("cut", tokens(input=3042, output=51, cache_read=966, cache_write=678)),
        # Its own events of the first try are missing from this capture, so the CLI's count is all there is.
        ("stall", tokens(input=2000, output=41, cache_read=600, cache_write=400)),
        # The subagent's messages are told without their output; the closing events count it.
        ("subagent", tokens(input=5105, output=245, cache_read=1665, cache_write=1195, reasoning=11)),
        ("term", tokens(input=1000, output=40, cache_read=300, cache_write=200)),
        ("int", tokens(input=1000, output=40, cache_read=300, cache_write=200)),
    ],
)
def test_tokens_add_up_to_what_the_server_reported(name: str, expected: dict[str, int]) -> None:
    assert used(events(name)) == {MODEL: expected}


def test_what_is_cached_for_an_hour_is_told_beside_the_whole() -> None:
    told = {"input_tokens": 1, "cache_creation_input_tokens": 50,
            "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 30}}  # fmt: skip
    message = {"id": "m", "model": MODEL, "usage": told, "content": []}
    lines = [
        {"type": "stream_event", "event": {"type": "message_start", "message": message}},
        {"type": "stream_event", "event": {"type": "message_delta", "usage": {**told, "output_tokens": 7}}},
    ]
    rows = of_kind(read("claude", "".join(f"{json.dumps(line)}\n" for line in lines).encode()), "usage")
    assert rows == [
        {"model": MODEL, **tokens(input=1, cache_write=50), "cache_write_1h": 30},
        {"model": MODEL, **tokens(output=7), "cache_write_1h": 0},
    ]


def test_a_dated_answer_is_not_counted_again_under_the_name_that_was_asked_for() -> None:
    dated = captured("claude-first").replace(b'"model":"claude-sonnet-4-5"', b'"model":"claude-sonnet-4-5-20250929"')
    assert list(used(read("claude", dated))) == ["claude-sonnet-4-5-20250929"]


def test_a_session_that_goes_on_in_the_background_begins_once() -> None:
    assert len(of_kind(events("subagent"), "session")) == 1


def test_a_retry_says_how_long_it_waits_and_why() -> None:
    assert of_kind(events("flaky"), "retry") == [
        {"attempt": 1, "of": 10, "wait_ms": 519, "status": 529, "text": "overloaded"}
    ]


def test_a_killed_tool_has_its_exit_code() -> None:
    (result,) = of_kind(events("term"), "tool_result")
    assert (result["error"], result["exit"]) == (True, 137)


@pytest.mark.parametrize("name", NAMES)
def test_wherever_the_stream_is_cut_the_events_are_the_same(name: str) -> None:
    data = captured(f"claude-{name}")
    whole = read("claude", data)
    assert read("claude", *(data[start : start + 1] for start in range(len(data)))) == whole
    for cut in range(0, len(data), 331):
        before = fresh("claude")
        before.take(0, data[:cut])
        after = fresh("claude")
        after.load(before.dump())
        after.seq = before.seq
        after.take(0, data[cut:])
        after.end(0)
        assert before.rows + after.rows == whole


@pytest.mark.parametrize("name", NAMES)
def test_no_captured_line_is_left_unread(name: str) -> None:
    assert of_kind(events(name), "raw") == []


@settings(max_examples=200)
@given(
    st.dictionaries(st.text(), JSON), st.sampled_from(["system", "stream_event", "assistant", "user", "result", "?"])
)
def test_a_line_of_any_shape_is_kept_or_ignored(extra: dict[str, Any], kind: str) -> None:
    line = json.dumps({"type": kind, **extra}).encode() + b"\n"
    rows = read("claude", line, captured("claude-nokey"))
    assert [row.kind for row in rows][-3:] == ["session", "error", "end"]


@given(st.sampled_from(["message", "event", "model_usage_since_last_result"]), JSON)
def test_a_line_with_anything_in_a_known_place_is_kept_or_ignored(place: str, value: object) -> None:
    kind = {"message": "assistant", "event": "stream_event"}.get(place, "result")
    line = json.dumps({"type": kind, place: value}).encode() + b"\n"
    assert of_kind(read("claude", line, captured("claude-nokey")), "end")


def test_counts_that_are_none_are_not_counted() -> None:
    usage = {"input_tokens": "9", "output_tokens": -4, "cache_read_input_tokens": True}
    start = {"type": "message_start", "message": {"id": "m", "model": "x", "usage": usage}}
    assert used(read("claude", json.dumps({"type": "stream_event", "event": start}).encode())) == {}


@pytest.mark.parametrize(
    ("name", "code", "status", "reason", "word"),
    [
        ("first", 0, "succeeded", "", ""),
        ("flaky", 0, "succeeded", "", ""),
        ("nokey", 1, "failed", "missing_key", "no key"),
        ("401", 1, "failed", "key_refused", "401"),
        ("int", 0, "interrupted", "interrupted", "interrupted"),
        ("term", 143, "failed", "unfinished", "143"),
    ],
)
def test_a_turn_is_judged_by_its_closing_event(name: str, code: int, status: str, reason: str, word: str) -> None:
    verdict = CLAUDE.judge(Exit(code, None, ""), found(name))
    assert (verdict.status, verdict.reason) == (status, reason)
    assert word in verdict.detail


@pytest.mark.parametrize(
    ("http", "reason"), [(529, "overloaded"), (429, "overloaded"), (404, "unknown_model"), (500, "model_error")]
)
def test_a_refusal_is_named_by_its_status(http: int, reason: str) -> None:
    verdict = CLAUDE.judge(Exit(1, None, ""), Found({"ok": False, "status": http, "text": "It said\nno."}))
    assert (verdict.status, verdict.reason) == ("failed", reason)
    assert f"({http}): It said no." in verdict.detail


def test_giving_up_for_other_reasons_is_not_blamed_on_the_provider() -> None:
    end = {"ok": False, "status": None, "reason": "error_during_execution", "text": "No conversation found."}
    verdict = CLAUDE.judge(Exit(1, None, ""), Found(end))
    assert (verdict.reason, verdict.detail) == ("unfinished", "Claude Code gave up: No conversation found.")


def test_a_cli_that_did_not_start_says_why() -> None:
    verdict = CLAUDE.judge(Exit(1, None, ""), Found(stderr="Error: Session ID x is already in use.\n"))
    assert verdict.reason == "unfinished"
    assert verdict.detail.endswith("Error: Session ID x is already in use.")


def test_the_command_resumes_with_everything_that_was_chosen() -> None:
    endpoint = Endpoint("anthropic", "http://127.0.0.1:3129/http/models:1/v1", "placeholder")
    task = Task(
        prompt="-p is no flag", folder="/jobs/1", model="claude-opus-5-5", effort="max", session="abc", fresh_id="def",
        system_prompt="Be brief.", endpoints={"anthropic": endpoint}, attachments=("/home/user/a.png",),
    )  # fmt: skip
    command = CLAUDE.turn(task)
    words = " ".join(command.argv)
    assert "--resume abc" in words
    assert "--model claude-opus-5-5" in words
    assert "--effort max" in words
    assert command.files["/jobs/1/prompt"] == b"-p is no flag\n\nAttached files:\n- /home/user/a.png"
    assert command.files["/jobs/1/system-prompt"] == b"Be brief."
    assert command.env["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:3129/http/models:1"
    assert command.secret_env == {"ANTHROPIC_API_KEY": "placeholder"}
    assert "placeholder" not in words + str(command.env) + str(command.files)


@pytest.mark.parametrize(
    ("provider", "variable", "base"),
    [
        ("anthropic", "ANTHROPIC_API_KEY", None),
        ("anthropic_token", "CLAUDE_CODE_OAUTH_TOKEN", None),
        ("openrouter", "ANTHROPIC_AUTH_TOKEN", "https://openrouter.ai/api"),
    ],
)
def test_each_kind_of_key_goes_where_the_cli_reads_it(provider: str, variable: str, base: str | None) -> None:
    command = CLAUDE.turn(Task("x", "/jobs/1", endpoints={provider: Endpoint(provider, "", "k")}, fresh_id="def"))
    assert command.secret_env == {variable: "k"}
    assert command.env.get("ANTHROPIC_BASE_URL") == base
    assert command.argv[-2:] == ("--session-id", "def")


def test_a_briefing_goes_where_the_cli_looks() -> None:
    briefing = Briefing(
        instructions="Be kind.",
        contexts={"Style": "Short lines."},
        skills=(Skill("greet", {"SKILL.md": b"how", "more/a.txt": b"x"}),),
        commands=(Command("hello", "Say hello."),),
    )
    injection = CLAUDE.inject(briefing)
    home = "/home/user/.claude"
    assert set(injection.files) == {
        f"{home}/CLAUDE.md", f"{home}/skills/greet/SKILL.md", f"{home}/skills/greet/more/a.txt",
        f"{home}/commands/hello.md",
    }  # fmt: skip
    assert b"Be kind." in injection.files[f"{home}/CLAUDE.md"]
    assert b"Short lines." in injection.files[f"{home}/CLAUDE.md"]
