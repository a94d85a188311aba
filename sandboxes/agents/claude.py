"""Claude Code: `claude -p` with JSON lines on stdout.

Contract: facts in docs of the CLI and runs of 2.1.330 against a scripted server (tests/agents/test_claude.py).
"""

import re
from collections.abc import Iterator
from typing import Any

from personas.briefing import Briefing

from ..reasons import Reason
from . import claude_stream
from .base import Command, Endpoint, Event, Exit, Found, Injection, Package, Task, Verdict
from .verdicts import refusal

HOME = "/home/user/.claude"
OPENROUTER = "https://openrouter.ai/api"
# The real vendor's; a key of the first provider that has one is used.
VARIABLES = {
    "anthropic": "ANTHROPIC_API_KEY",
    "anthropic_token": "CLAUDE_CODE_OAUTH_TOKEN",
    "openrouter": "ANTHROPIC_AUTH_TOKEN",
}
ENV = {
    # It refuses to skip permissions as root otherwise.
    "IS_SANDBOX": "1",
    # Its own 10 tries take three minutes to say that a key is wrong; 6 ride out half a minute of overload.
    "CLAUDE_CODE_MAX_RETRIES": "6",
    # How long a model server may be silent before it is asked again; the default is ten minutes.
    "API_TIMEOUT_MS": "120000",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_AUTOUPDATER": "1",
}
FLAGS = (
    "-p",
    "--output-format=stream-json",
    "--verbose",
    "--include-partial-messages",
    "--dangerously-skip-permissions",
    # Else a resumed session keeps the system prompt of its first request, whatever is passed later.
    "--system-prompt-snapshot=off",
)
NOT_LOGGED_IN = re.compile(r"not logged in|/login", re.IGNORECASE)


class Claude:
    """Anthropic's agent."""

    name = "Claude Code"
    package: Package | None = Package(
        npm="@anthropic-ai/claude-code",
        version="2.1.330",
        programs={"claude": "@anthropic-ai/claude-code/bin/claude.exe"},
        says=r"2\.1\.330 \(Claude Code\)",
    )
    check = "claude --version"
    structured = True
    providers: tuple[str, ...] = tuple(VARIABLES)
    models: tuple[str, ...] = ("claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5")
    efforts: tuple[str, ...] = ("low", "medium", "high", "max")
    needs_mb = 512

    def turn(self, task: Task) -> Command:
        """The prompt is a file on stdin, which ends: as an argument it would be limited to 128 KiB."""
        prompt = f"{task.folder}/prompt"
        files = {prompt: task.message.encode(errors="surrogateescape")}
        argv = ["bash", "-c", 'exec claude "$@" < "$0"', prompt, *FLAGS, *_session(task)]
        if task.model:
            argv += ["--model", task.model]
        if task.effort:
            argv += ["--effort", task.effort]
        if task.system_prompt:
            path = f"{task.folder}/system-prompt"
            files[path] = task.system_prompt.encode(errors="surrogateescape")
            argv += ["--append-system-prompt-file", path]
        env, secret_env = _access(task)
        return Command(tuple(argv), files, ENV | env, secret_env)

    def inject(self, briefing: Briefing) -> Injection:
        """Its user-level places, so that the repository stays as it is."""
        files = {f"{HOME}/commands/{command.name}.md": command.text.encode() for command in briefing.commands}
        for skill in briefing.skills:
            files |= {f"{HOME}/skills/{skill.name}/{path}": data for path, data in skill.files.items()}
        if briefing.document:
            files[f"{HOME}/CLAUDE.md"] = briefing.document.encode()
        return Injection(files)

    def parse(self, state: dict[str, Any], line: dict[str, Any], t: int) -> Iterator[Event]:
        """See `claude_stream`."""
        return claude_stream.events(state, line, t)

    def judge(self, ended: Exit, found: Found) -> Verdict:
        """By its closing event; without one it was ended, or did not get as far as a conversation."""
        if found.end is None:
            return _unfinished(ended, found)
        if found.end.get("ok"):
            return Verdict("succeeded")
        text, status = str(found.end.get("text") or ""), found.end.get("status")
        if str(found.end.get("reason")).startswith("aborted"):
            return Verdict("interrupted", Reason.INTERRUPTED, Reason.sentence(Reason.INTERRUPTED))
        if status is None and NOT_LOGGED_IN.search(text):
            return Verdict(
                "failed", Reason.MISSING_KEY, "Claude Code has no key. Set an Anthropic key for the project."
            )
        if status is None and found.end.get("reason") != "api_error":
            return Verdict("failed", Reason.UNFINISHED, f"Claude Code gave up: {text[:500] or 'it did not say why.'}")
        return refusal(status, text)


def _session(task: Task) -> tuple[str, ...]:
    if task.session:
        return ("--resume", task.session)
    return ("--session-id", task.fresh_id) if task.fresh_id else ()


def _access(task: Task) -> tuple[dict[str, str], dict[str, str]]:
    """Plain and secret environment for the first provider that there is."""
    endpoint = next((task.endpoints[name] for name in VARIABLES if name in task.endpoints), None)
    if endpoint is None:
        return {}, {}
    base = _base(endpoint)
    plain = {"ANTHROPIC_BASE_URL": base} if base else {}
    return plain, {VARIABLES[endpoint.provider]: endpoint.key} if endpoint.key else {}


def _base(endpoint: Endpoint) -> str:
    """It adds `/v1/messages` itself."""
    default = OPENROUTER if endpoint.provider == "openrouter" else ""
    return endpoint.base_url.rstrip("/").removesuffix("/v1") or default


def _unfinished(ended: Exit, found: Found) -> Verdict:
    said = found.stderr.strip().splitlines()
    if said and ended.signal is None and ended.code == 1:
        return Verdict("failed", Reason.UNFINISHED, f"Claude Code did not start working: {said[-1][:300]}")
    return Verdict("failed", Reason.UNFINISHED, f"Claude Code was ended before it was done ({_how(ended)}).")


def _how(ended: Exit) -> str:
    return f"signal {ended.signal}" if ended.signal else f"exit status {ended.code}"
