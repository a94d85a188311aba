"""Codex's lines as events, its ends as verdicts and its command, from what the real CLI printed."""

import itertools
import json
import tomllib
from typing import Any

import pytest

from personas.briefing import Briefing, Command, Skill
from sandboxes.agents import AGENTS, Endpoint, Exit, Found, Task
from sandboxes.transcript import EventRow
from tests.agents.reading import TOKENS, captured, fresh, of_kind, read, used

CODEX = AGENTS["codex"]
CONTEXT = {"session": "", "baseline": {}, "model": "openai/gpt-6-sol"}


def events(name: str, context: dict[str, Any] | None = None) -> list[EventRow]:
    return read("codex", captured(f"codex-{name}"), context=context or CONTEXT)


def found(name: str, stderr: str = "") -> Found:
    rows = events(name)
    end = of_kind(rows, "end")
    return Found(end[-1] if end else None, tuple(of_kind(rows, "error")), stderr)


def tokens(**numbers: int) -> dict[str, int]:
    return dict.fromkeys(TOKENS, 0) | numbers


def of_item(**item: Any) -> list[EventRow]:
    lines = [{"type": f"item.{stage}", "item": {"id": "item_9", **item}} for stage in ("started", "completed")]
    return read("codex", *(json.dumps(line).encode() + b"\n" for line in lines))


def test_a_first_turn_is_told_from_its_session_to_its_end() -> None:
    rows = events("first")
    assert [row.kind for row in rows] == [
        "session", "thinking", "tool_call", "tool_result", "tool_call", "tool_result", "text", "usage", "end",
    ]  # fmt: skip
    assert rows[0].data["model"] == "gpt-6-sol"
    call, result = of_kind(rows, "tool_call")[0], of_kind(rows, "tool_result")[0]
    assert call["name"] == "command_execution"
    assert call["input"] == {"command": "echo hello > a.txt; cat a.txt; exit 3"}
    assert result == {"id": call["id"], "output": "hello\n", "error": True, "exit": 3, "seconds": 0.0}
    assert of_kind(rows, "tool_call")[1]["input"]["changes"][0]["kind"] == "add"
    assert of_kind(rows, "text") == [{"text": "All done now."}]


def test_a_tool_takes_from_its_beginning_to_its_end() -> None:
    made = fresh("codex")
    for number, line in enumerate(captured("codex-first").splitlines(keepends=True)):
        made.take(number * 500, line)
    assert [row.data["seconds"] for row in made.rows if row.kind == "tool_result"] == [0.5, 0.5]


def test_the_thread_is_counted_on_so_a_turn_used_what_was_added() -> None:
    first = events("first")
    end = of_kind(first, "end")[0]
    context = CONTEXT | {"session": first[0].data["id"], "baseline": end["baseline"]}
    second = events("second", context)
    assert used(first) == {
        "gpt-6-sol": {"input": 3042, "output": 138, "cache_read": 966, "cache_write": 0, "reasoning": 11}
    }
    assert used(second) == {
        "gpt-6-sol": {"input": 2063, "output": 107, "cache_read": 699, "cache_write": 0, "reasoning": 0}
    }


def test_a_thread_that_counts_anew_is_counted_from_nothing() -> None:
    baseline = {"input_tokens": 10**9, "output_tokens": 10**9}
    assert used(events("first", CONTEXT | {"baseline": baseline}))["gpt-6-sol"]["output"] == 138
    other = {"session": "another", "baseline": {"input_tokens": 1, "output_tokens": 1}}
    assert used(events("first", CONTEXT | other))["gpt-6-sol"]["output"] == 138


def test_a_turn_that_was_ended_early_is_counted_from_the_log_of_the_session() -> None:
    (usage,) = of_kind(events("term"), "usage")
    assert {name: usage[name] for name in TOKENS} == tokens(input=2035, output=95, cache_read=655)
    # The thread goes on without the call that was cut off, so what it counts from is less than the sum.
    assert usage["baseline"]["output_tokens"] == 43 + 46


def test_the_log_of_another_session_counts_nothing() -> None:
    *_, record = captured("codex-term").splitlines(keepends=True)
    begun = b'{"type":"thread.started","thread_id":"another"}\n'
    assert of_kind(read("codex", begun, record), "usage") == []


def test_an_attempt_to_connect_again_is_a_retry() -> None:
    retries = of_kind(events("529"), "retry")
    assert [retry["attempt"] for retry in retries] == [1, 2, 3, 4, 5]
    assert (retries[0]["of"], retries[0]["status"]) == (5, 529)


def test_a_warning_is_no_failure() -> None:
    warning, failure = of_kind(events("unknown"), "error")
    assert (warning["fatal"], failure["fatal"]) == (False, True)


@pytest.mark.parametrize(
    ("item", "name", "output", "failed"),
    [
        ({"type": "mcp_tool_call", "server": "git", "tool": "log", "arguments": {"n": 1}, "status": "completed",
          "result": {"content": [{"type": "text", "text": "a"}, {"type": "image"}]}}, "git.log", "a\n[image]", False),
        ({"type": "mcp_tool_call", "server": "git", "tool": "log", "arguments": None, "status": "failed",
          "error": {"message": "no"}}, "git.log", "no", True),
        ({"type": "web_search", "query": "why"}, "web_search", "", False),
        ({"type": "collab_tool_call", "tool": "spawn_agent", "prompt": "go", "status": "completed",
          "agents_states": {"a": {"status": "completed", "message": "went"}}}, "spawn_agent", "went", False),
        ({"type": "command_execution", "command": "rm -rf /", "status": "declined"}, "command_execution", "", True),
    ],
)  # fmt: skip
def test_other_tools_have_a_name_and_a_result(item: dict[str, Any], name: str, output: str, failed: bool) -> None:
    (call,), (result,) = of_kind(of_item(**item), "tool_call"), of_kind(of_item(**item), "tool_result")
    assert (call["name"], result["output"], result["error"]) == (name, output, failed)


def test_a_list_is_called_whenever_it_changes() -> None:
    rows = of_item(type="todo_list", items=[{"text": "look", "completed": False}])
    assert [row.kind for row in rows] == ["tool_call", "tool_result"]


def test_an_item_that_nobody_knows_is_kept() -> None:
    assert [row.kind for row in of_item(type="hologram", size=3)] == ["raw"]


@pytest.mark.parametrize(
    ("name", "code", "signal", "status", "reason", "word"),
    [
        ("first", 0, None, "succeeded", "", ""),
        ("nokey", 1, None, "failed", "missing_key", "no key"),
        ("401", 1, None, "failed", "key_refused", "(401)"),
        ("529", 1, None, "failed", "overloaded", "(529)"),
        ("cut", 1, None, "failed", "model_error", "broke off"),
        ("unknown", 1, None, "failed", "unknown_model", "does not exist"),
        ("term", None, 15, "failed", "unfinished", "signal 15"),
    ],
)
def test_a_turn_is_judged_by_its_closing_event(
    name: str, code: int | None, signal: int | None, status: str, reason: str, word: str
) -> None:
    verdict = CODEX.judge(Exit(code, signal, ""), found(name))
    assert (verdict.status, verdict.reason) == (status, reason)
    assert word in verdict.detail


def test_a_cli_that_did_not_start_says_why() -> None:
    stderr = "Error: thread/resume failed: no rollout found for thread id x\n\nStack backtrace:\n   0: <unknown>\n"
    verdict = CODEX.judge(Exit(1, None, ""), Found(stderr=stderr))
    assert verdict.reason == "unfinished"
    assert verdict.detail.endswith("no rollout found for thread id x")


def settings_of(task: Task) -> dict[str, Any]:
    """What its `-c` options say, read as TOML."""
    words = CODEX.turn(task).argv[4:]  # behind bash's own
    return tomllib.loads("\n".join(word for before, word in itertools.pairwise(words) if before == "-c"))


def test_the_command_resumes_with_everything_that_was_chosen() -> None:
    endpoint = Endpoint("openai", "http://127.0.0.1:3129/https/api.openai.com/v1", "placeholder")
    task = Task(
        prompt="-p is no flag", folder="/jobs/1", model="openai/gpt-5.5", effort="max", session="abc",
        system_prompt='Say "no" \x7f \ud800.', endpoints={"openai": endpoint},
    )  # fmt: skip
    command = CODEX.turn(task)
    assert command.argv[-3:] == ("resume", "abc", "-")
    assert command.argv[command.argv.index("-m") + 1] == "gpt-5.5"
    assert settings_of(task)["model_reasoning_effort"] == "xhigh"
    provider = settings_of(task)["model_providers"]["codecourier"]
    assert provider["base_url"] == "http://127.0.0.1:3129/https/api.openai.com/v1"
    assert provider["env_key"] == "OPENAI_API_KEY"
    assert command.files["/jobs/1/prompt"] == b"-p is no flag"
    layer = tomllib.loads(command.files["/home/user/.codex/codecourier.config.toml"].decode())
    assert layer == {"developer_instructions": 'Say "no" \x7f ?.'}
    assert command.secret_env == {"OPENAI_API_KEY": "placeholder"}
    assert "placeholder" not in " ".join(command.argv) + str(command.env) + str(command.files)


def test_a_first_turn_resumes_nothing_and_says_the_default_model() -> None:
    command = CODEX.turn(Task("x", "/jobs/1", endpoints={"openai": Endpoint("openai", "", "k")}))
    assert "resume" not in command.argv
    assert command.argv[command.argv.index("-m") + 1] == CODEX.models[0]


def test_newer_models_have_an_effort_above_the_others() -> None:
    assert settings_of(Task("x", "/jobs/1", model="gpt-6-sol", effort="max"))["model_reasoning_effort"] == "max"


def test_an_endpoint_without_a_key_is_asked_without_one() -> None:
    task = Task("x", "/jobs/1", endpoints={"openai": Endpoint("openai", "http://models:8000", "")})
    provider = settings_of(task)["model_providers"]["codecourier"]
    assert provider["base_url"] == "http://models:8000/v1"
    assert "env_key" not in provider


def test_a_briefing_goes_where_the_cli_looks() -> None:
    skill = Skill("greet", {"SKILL.md": b"how", "more/a.txt": b"x"})
    briefing = Briefing(instructions="Be kind.", skills=(skill,), commands=(Command("hello", "Say hello."),))
    injection = CODEX.inject(briefing)
    home = "/home/user/.codex"
    assert set(injection.files) == {
        f"{home}/AGENTS.md", f"{home}/skills/greet/SKILL.md", f"{home}/skills/greet/more/a.txt",
    }  # fmt: skip
    assert injection.undelivered == (("/hello", "Codex has no commands of one's own; make it a skill."),)
