"""Pi's lines as events, its ends as verdicts and its command, from what the real CLI printed."""

import json
from typing import Any

import pytest

from personas.briefing import Briefing, Command, Skill
from sandboxes.agents import AGENTS, Endpoint, Exit, Found, Task
from sandboxes.transcript import EventRow
from tests.agents.reading import TOKENS, captured, fresh, of_kind, read, used

PI = AGENTS["pi"]
MODEL = "claude-sonnet-5-5"
HOME = "/home/user/.pi/agent"


def events(name: str) -> list[EventRow]:
    return read("pi", captured(f"pi-{name}"))


def found(name: str, stderr: str = "") -> Found:
    rows = events(name)
    end = of_kind(rows, "end")
    return Found(end[-1] if end else None, tuple(of_kind(rows, "error")), stderr)


def tokens(**numbers: int) -> dict[str, int]:
    return dict.fromkeys(TOKENS, 0) | numbers


def test_a_first_turn_is_told_from_its_session_to_its_end() -> None:
    rows = [row for row in events("first") if row.kind != "usage"]
    assert [row.kind for row in rows] == [
        "session", "thinking", "tool_call", "tool_result", "tool_call", "tool_result", "text", "end",
    ]  # fmt: skip
    assert rows[0].data["id"] == "7e4f8d1e-1111-4222-8333-000000000000"
    call, result = of_kind(rows, "tool_call")[0], of_kind(rows, "tool_result")[0]
    assert (call["name"], call["input"]["command"]) == ("bash", "echo hello > a.txt; cat a.txt; exit 3")
    assert (result["id"], result["error"], result["exit"]) == (call["id"], True, 3)
    assert result["output"].startswith("hello\n")
    assert 0 < result["seconds"] < 10
    assert of_kind(rows, "text") == [{"text": "All done now."}]


def test_what_streams_grows_until_it_is_whole() -> None:
    made, drafts = fresh("pi"), []
    for line in captured("pi-first").splitlines(keepends=True):
        made.take(0, line)
        if made.draft and made.draft["kind"] == "text":
            drafts.append(made.draft["text"])
    assert drafts[0] in "All done now."
    assert drafts[-1] == "All done now."
    assert made.draft == {}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("first", tokens(input=3042, output=138, cache_read=966, cache_write=678, reasoning=11)),
        # What came of the answer that broke off counts as well.
        ("cut", tokens(input=2021, output=47, cache_read=633, cache_write=439)),
        ("term", tokens(input=1007, output=43, cache_read=311, cache_write=213)),
    ],
)
def test_tokens_add_up_to_what_the_server_reported(name: str, expected: dict[str, int]) -> None:
    assert used(events(name)) == {MODEL: expected}


def test_a_summary_of_the_conversation_is_counted_as_well() -> None:
    usage = {"input": 70, "output": 7, "cacheRead": 1, "cacheWrite": 0}
    line = json.dumps({"type": "compaction_end", "result": {"usage": usage}}).encode() + b"\n"
    assert used(read("pi", captured("pi-first"), line))[MODEL]["input"] == 3042 + 70


def test_a_retry_says_how_long_it_waits_and_why() -> None:
    assert of_kind(events("529"), "retry")[0] == {
        "attempt": 1, "of": 3, "wait_ms": 2000, "status": 529, "text": "529 Scripted failure 529.",
    }  # fmt: skip


def test_what_a_broken_answer_began_is_not_said_twice() -> None:
    assert of_kind(events("cut"), "text") == [{"text": "hello there everybody and all the rest of the world"}]


@pytest.mark.parametrize(
    ("name", "code", "stderr", "status", "reason", "word"),
    [
        ("first", 0, "", "succeeded", "", ""),
        ("cut", 0, "", "succeeded", "", ""),
        ("nokey", 1, "No API key found for anthropic.\n", "failed", "missing_key", "no key"),
        ("401", 0, "", "failed", "key_refused", "(401): 401 The key is not the right one."),
        ("529", 0, "", "failed", "overloaded", "(529)"),
        ("unknown", 0, "", "failed", "unknown_model", "does not exist"),
        ("term", 143, "", "failed", "unfinished", "143"),
    ],
)
def test_a_turn_is_judged_by_its_closing_event(
    name: str, code: int, stderr: str, status: str, reason: str, word: str
) -> None:
    verdict = PI.judge(Exit(code, None, ""), found(name, stderr))
    assert (verdict.status, verdict.reason) == (status, reason)
    assert word in verdict.detail


def test_an_aborted_run_was_interrupted() -> None:
    end = of_kind(read("pi", b'{"type":"agent_settled","aborted":true}\n'), "end")[0]
    assert PI.judge(Exit(0, None, ""), Found(end)).status == "interrupted"


def models(task: Task) -> dict[str, Any]:
    """What its file of endpoints says."""
    providers: dict[str, Any] = json.loads(PI.turn(task).files[f"{HOME}/models.json"])["providers"]
    return providers


def test_the_command_resumes_with_everything_that_was_chosen() -> None:
    endpoint = Endpoint("anthropic", "http://127.0.0.1:3129/https/api.anthropic.com:443/v1", "placeholder")
    task = Task(
        prompt="-p is no flag", folder="/jobs/1", model="anthropic/claude-opus-5-5", effort="max", session="abc",
        fresh_id="def", system_prompt="Be brief.", endpoints={"anthropic": endpoint},
    )  # fmt: skip
    command = PI.turn(task)
    words = " ".join(command.argv)
    for part in ("--session-id abc", "--provider anthropic --model claude-opus-5-5", "--thinking max"):
        assert part in words
    assert command.files["/jobs/1/prompt"] == b"-p is no flag"
    assert command.files["/jobs/1/system-prompt"] == b"Be brief."
    assert models(task) == {"anthropic": {"baseUrl": "http://127.0.0.1:3129/https/api.anthropic.com:443"}}
    assert command.secret_env == {"ANTHROPIC_API_KEY": "placeholder"}
    assert "placeholder" not in words + str(command.env) + str(command.files)


def test_the_vendors_own_endpoint_leaves_the_file_alone() -> None:
    command = PI.turn(Task("x", "/jobs/1", fresh_id="def", endpoints={"openai": Endpoint("openai", "", "k")}))
    assert set(command.files) == {"/jobs/1/prompt"}
    assert "--session-id def" in " ".join(command.argv)


@pytest.mark.parametrize(("key", "named"), [("k", "$OPENAI_API_KEY"), ("", "none")])
def test_a_compatible_server_is_asked_for_chat_completions(key: str, named: str) -> None:
    endpoint = Endpoint("openai", "http://models:8000", key)
    (openai,) = models(Task("x", "/jobs/1", model="qwen3:8b", endpoints={"openai": endpoint})).values()
    assert (openai["baseUrl"], openai["api"]) == ("http://models:8000/v1", "openai-completions")
    assert openai["models"][0]["id"] == "qwen3:8b"
    assert openai["apiKey"] == named


def test_a_briefing_goes_where_the_cli_looks() -> None:
    skill = Skill("greet", {"SKILL.md": b"how", "more/a.txt": b"x"})
    briefing = Briefing(instructions="Be kind.", skills=(skill,), commands=(Command("hello", "Say hello."),))
    assert set(PI.inject(briefing).files) == {
        f"{HOME}/AGENTS.md", f"{HOME}/skills/greet/SKILL.md", f"{HOME}/skills/greet/more/a.txt",
        f"{HOME}/prompts/hello.md",
    }  # fmt: skip
    assert PI.inject(briefing).undelivered == ()
