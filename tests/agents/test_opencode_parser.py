"""OpenCode's lines as events, its ends as verdicts and its command, from what the real CLI printed."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from personas.briefing import Briefing, Command, Skill
from sandboxes.agents import AGENTS, Endpoint, Exit, Found, Task
from sandboxes.agents.opencode import RUN_COMMAND
from sandboxes.transcript import EventRow
from tests.agents.reading import TOKENS, captured, of_kind, read, used

OPENCODE = AGENTS["opencode"]
HOME = "/home/user/.config/opencode"
CONTEXT = {"session": "", "baseline": {}, "model": "anthropic/claude-sonnet-5-5"}


def events(name: str) -> list[EventRow]:
    return read("opencode", captured(f"opencode-{name}"), context=CONTEXT)


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
    assert rows[0].data["model"] == "claude-sonnet-5-5"
    call, result = of_kind(rows, "tool_call")[0], of_kind(rows, "tool_result")[0]
    assert (call["name"], call["input"]) == ("bash", {"command": "echo hello > a.txt; cat a.txt; exit 3"})
    assert (result["id"], result["output"], result["exit"]) == (call["id"], "hello\n", 3)
    assert result["seconds"] == 1.645
    assert of_kind(rows, "text") == [{"text": "All done now."}]


def test_a_resumed_turn_tells_the_same_session() -> None:
    assert events("first")[0].data["id"] == events("second")[0].data["id"]


def test_tokens_add_up_to_what_the_server_reported() -> None:
    counted = tokens(input=3042, output=138, cache_read=966, cache_write=678, reasoning=11)
    assert used(events("first")) == {"claude-sonnet-5-5": counted}


def test_a_tool_that_failed_says_why() -> None:
    state = {"status": "error", "input": {"command": "x"}, "error": "no such tool", "time": {"start": 1, "end": 2001}}
    line = {"type": "tool_use", "sessionID": "s", "part": {"callID": "c", "tool": "bash", "state": state}}
    (result,) = of_kind(read("opencode", json.dumps(line).encode()), "tool_result")
    assert result == {"id": "c", "output": "no such tool", "error": True, "exit": None, "seconds": 2.0}


def test_an_answer_that_was_cut_short_by_its_length_is_an_end_and_a_refusal_is_none() -> None:
    def end(reason: str) -> Any:
        line = {"type": "step_finish", "sessionID": "s", "part": {"reason": reason}}
        return of_kind(read("opencode", json.dumps(line).encode()), "end")

    assert end("length")[0]["ok"]
    assert not end("content-filter")[0]["ok"]
    assert end("tool-calls") == []


@pytest.mark.parametrize(
    ("name", "code", "signal", "status", "reason", "word"),
    [
        ("first", 0, None, "succeeded", "", ""),
        ("nokey", 1, None, "failed", "missing_key", "no key"),
        ("401", 1, None, "failed", "key_refused", "(401)"),
        ("unknown", 1, None, "failed", "unknown_model", "does not exist"),
        ("term", None, 15, "failed", "unfinished", "signal 15"),
    ],
)
def test_a_turn_is_judged_by_its_last_answer_and_its_errors(
    name: str, code: int | None, signal: int | None, status: str, reason: str, word: str
) -> None:
    verdict = OPENCODE.judge(Exit(code, signal, ""), found(name))
    assert (verdict.status, verdict.reason) == (status, reason)
    assert word in verdict.detail


def test_an_end_with_a_bad_exit_status_is_no_success() -> None:
    assert OPENCODE.judge(Exit(1, None, ""), found("first")).reason == "unfinished"


def test_a_cli_that_did_not_start_says_why() -> None:
    verdict = OPENCODE.judge(Exit(1, None, ""), Found(stderr="Error: Session not found\n"))
    assert verdict.detail == "OpenCode did not start working: Error: Session not found"


def config_of(task: Task) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(OPENCODE.turn(task).env["OPENCODE_CONFIG_CONTENT"])
    return config


def test_the_command_resumes_with_everything_that_was_chosen() -> None:
    endpoint = Endpoint("anthropic", "http://127.0.0.1:3129/https/api.anthropic.com:443", "placeholder")
    task = Task(
        prompt="-p is no flag", folder="/jobs/1", model="claude-opus-5-5", effort="max", session="ses_1",
        system_prompt="Be brief.", endpoints={"anthropic": endpoint},
    )  # fmt: skip
    command = OPENCODE.turn(task)
    words = " ".join(command.argv)
    for part in ("--session ses_1", "-m anthropic/claude-opus-5-5", "--variant max"):
        assert part in words
    assert command.files["/jobs/1/prompt"] == b"-p is no flag"
    assert command.files["/jobs/1/system-prompt"] == b"Be brief."
    assert config_of(task)["instructions"] == ["/jobs/1/system-prompt"]
    options = config_of(task)["provider"]["anthropic"]["options"]
    assert options["baseURL"] == "http://127.0.0.1:3129/https/api.anthropic.com:443/v1"
    assert options["apiKey"] == "{env:ANTHROPIC_API_KEY}"
    assert command.secret_env == {"ANTHROPIC_API_KEY": "placeholder"}
    assert "placeholder" not in words + str(command.env) + str(command.files)


def test_its_plugin_package_is_said_to_be_there() -> None:
    files = OPENCODE.turn(Task("x", "/jobs/1")).files
    lock = json.loads(files[f"{HOME}/package-lock.json"])
    assert "@opencode-ai/plugin" in lock["packages"][""]["dependencies"]
    assert f"{HOME}/node_modules/.keep" in files


@pytest.mark.parametrize(
    ("url", "name", "package"),
    [("http://models:8000", "compatible", "@ai-sdk/openai-compatible"), ("", "openai", None)],
)
def test_a_compatible_server_is_asked_for_chat_completions(url: str, name: str, package: str | None) -> None:
    task = Task("x", "/jobs/1", model="qwen3", effort="high", endpoints={"openai": Endpoint("openai", url, "")})
    provider = config_of(task)["provider"][name]
    assert provider.get("npm") == package
    assert provider["options"]["apiKey"] == "none"
    assert provider["models"]["qwen3"]["variants"] == {"high": {"reasoningEffort": "high"}}
    assert f"-m {name}/qwen3" in " ".join(OPENCODE.turn(task).argv)


def test_a_command_is_called_where_there_is_one(tmp_path: Path) -> None:
    command = OPENCODE.turn(Task("/greet the world", "/jobs/1"))
    assert command.argv[2:5] == (RUN_COMMAND, "/jobs/1/prompt", "greet")
    assert command.files["/jobs/1/prompt-arguments"] == b"the world"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/opencode").write_text('#!/bin/sh\necho "$@"; cat\n')
    (tmp_path / "bin/opencode").chmod(0o755)
    (tmp_path / "prompt").write_text("/greet the world")
    (tmp_path / "prompt-arguments").write_text("the world")
    env = {"HOME": str(tmp_path), "PATH": f"{tmp_path}/bin:/usr/bin:/bin"}

    def run() -> str:
        words = ["bash", "-c", RUN_COMMAND, str(tmp_path / "prompt"), "greet", "--auto"]
        return subprocess.run(words, env=env, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    assert run() == "run --auto\n/greet the world"
    (tmp_path / ".config/opencode/commands").mkdir(parents=True)
    (tmp_path / ".config/opencode/commands/greet.md").write_text("Greet.")
    assert run() == "run --command greet --auto\nthe world"


def test_a_briefing_goes_where_the_cli_looks() -> None:
    skill = Skill("greet", {"SKILL.md": b"how", "more/a.txt": b"x"})
    briefing = Briefing(instructions="Be kind.", skills=(skill,), commands=(Command("hello", "Say hello."),))
    assert set(OPENCODE.inject(briefing).files) == {
        f"{HOME}/AGENTS.md", f"{HOME}/skills/greet/SKILL.md", f"{HOME}/skills/greet/more/a.txt",
        f"{HOME}/commands/hello.md",
    }  # fmt: skip
