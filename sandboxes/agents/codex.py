"""Codex: `codex exec --json`, which speaks the Responses API only.

Contract: runs of 0.169.0 against a scripted server (tests/agents).
"""

import json
from collections.abc import Iterator
from typing import Any

from personas.briefing import Briefing

from ..reasons import Reason
from . import codex_stream
from .access import Access, chosen
from .base import Command, Event, Exit, Found, Injection, Package, Task, Verdict
from .verdicts import no_key, refusal, status_in, unfinished

HOME = "/home/user/.codex"
# A layer over the user's own configuration, which stays as a setup script may have left it.
PROFILE = "codecourier"
FLAGS = ("--json", "--dangerously-bypass-approvals-and-sandbox", "--skip-git-repo-check", "--profile", PROFILE)
# Ended early, it says nothing of its tokens, and forgets those of its last call: its own log of the session has them.
RUN = """
trap : TERM
codex exec "$@" < "$0"
code=$?
log=$(ls -t "$CODEX_HOME"/sessions/*/*/*/*.jsonl 2>/dev/null | head -n 1)
if [ $code -ne 0 ] && [ "$log" -nt "$0" ]; then
  tac "$log" | grep -m 1 '"type":"token_count"'
  tac "$log" | sed '/"type":"task_started"/q' | grep -m 1 '"type":"token_usage_record"'
fi
trap - TERM
[ $code -ne 143 ] || kill -TERM $$
exit $code
"""
NO_COMMANDS = "Codex has no commands of one's own; make it a skill."


class Codex:
    """OpenAI's agent."""

    name = "Codex"
    # The native program: the launcher in JavaScript leaves it running when it is killed.
    package: Package | None = Package(
        npm="@openai/codex",
        version="0.169.0",
        programs={"codex": "@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl/bin/codex"},
        says=r"codex-cli 0\.169\.0",
    )
    check = "codex --version"
    structured = True
    providers: tuple[str, ...] = ("openai", "openrouter")
    models: tuple[str, ...] = codex_stream.MODELS
    efforts: tuple[str, ...] = ("low", "medium", "high", "max")
    needs_mb = 384

    def turn(self, task: Task) -> Command:
        """A resumed session forgets model, effort and provider, so all of them are said again each time."""
        access = chosen(task, self.providers, self.models[0])
        prompt = f"{task.folder}/prompt"
        settings = [word for pair in _settings(task, access) for word in ("-c", pair)]
        session = ["resume", task.session] if task.session else []
        words = [*FLAGS, "-m", access.model, *settings, *session, "-"]
        files = {
            prompt: task.message.encode(errors="surrogateescape"),
            # As an argument it would be limited to 128 KiB.
            f"{HOME}/{PROFILE}.config.toml": f"developer_instructions = {_toml(task.system_prompt)}\n".encode(),
        }
        argv = ("bash", "-c", RUN, prompt, *words)
        return Command(argv, files, {"CODEX_HOME": HOME}, access.secret_env)

    def inject(self, briefing: Briefing) -> Injection:
        """Its user-level places, so that the repository stays as it is."""
        files: dict[str, bytes] = {}
        for skill in briefing.skills:
            files |= {f"{HOME}/skills/{skill.name}/{path}": data for path, data in skill.files.items()}
        if briefing.document:
            files[f"{HOME}/AGENTS.md"] = briefing.document.encode()
        return Injection(files, tuple((f"/{command.name}", NO_COMMANDS) for command in briefing.commands))

    def parse(self, state: dict[str, Any], line: dict[str, Any], t: int) -> Iterator[Event]:
        """See `codex_stream`."""
        return codex_stream.events(state, line, t)

    def judge(self, ended: Exit, found: Found) -> Verdict:
        """By its closing event; Codex tells every refusal as a sentence."""
        if found.end is None:
            return unfinished(self.name, ended, found)
        if found.end.get("ok"):
            return Verdict("succeeded")
        text = str(found.end.get("text") or "")
        if "Missing environment variable" in text:
            return no_key(self.name, "an OpenAI or OpenRouter")
        if "stream disconnected" in text:
            return Verdict("failed", Reason.MODEL_ERROR, f"The model provider's answers broke off, six times: {text}")
        return refusal(status_in(text), text)


def _settings(task: Task, access: Access) -> Iterator[str]:
    """Configuration as `-c` takes it: above every file, the repository's as well.

    A provider of our own: the built-in one tries a WebSocket first, and wants a login instead of a key.
    """
    fields = {"name": access.provider, "base_url": access.versioned(), "wire_api": "responses"}
    if access.endpoint is None or access.endpoint.key:
        # Without a key it says so; an endpoint that needs none is asked without one.
        fields["env_key"] = access.variable
    table = ", ".join(f"{name} = {_toml(value)}" for name, value in fields.items())
    yield 'model_provider="codecourier"'
    yield f"model_providers.codecourier={{{table}}}"
    if task.effort:
        yield f"model_reasoning_effort={_toml(access.effort(task.effort))}"


def _toml(text: str) -> str:
    """A TOML basic string: as in JSON, but it knows no surrogates, and DEL must be escaped."""
    plain = text.encode("utf-8", "replace").decode()
    return json.dumps(plain, ensure_ascii=False).replace("\x7f", "\\u007f")
