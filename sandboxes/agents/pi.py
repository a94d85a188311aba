"""Pi: `pi -p --mode json`, which speaks with Anthropic, OpenAI and OpenRouter.

Contract: runs of 1.5.2 against a scripted server (tests/agents), and the documentation in its package.
"""

import json
from collections.abc import Iterator
from typing import Any

from personas.briefing import Briefing

from ..reasons import Reason
from . import pi_stream
from .access import Access, chosen
from .base import Command, Event, Exit, Found, Injection, Package, Task, Verdict
from .verdicts import no_key, refusal, unfinished

HOME = "/home/user/.pi/agent"
FLAGS = (
    "-p",
    *("--mode", "json"),
    # No catalogue, no version check: models that it does not know are taken as they are named.
    "--offline",
    # Else the repository's own skills and prompts are left out.
    "--approve",
)
# What a model of somebody's own server is taken for; Pi wants all of it.
UNKNOWN_MODEL = {
    "reasoning": True,
    "input": ["text", "image"],
    "cost": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0},
    "contextWindow": 128_000,
    "maxTokens": 16_384,
}


class Pi:
    """Earendil's agent."""

    name = "Pi"
    # Its siblings are not on every registry; the bundle in its archive needs none of them.
    package: Package | None = Package(
        npm="@earendil-works/pi-coding-agent",
        version="1.5.2",
        programs={"pi": "@earendil-works/pi-coding-agent/dist/bundle/cli.js"},
        says=r"1\.5\.2",
        pack=True,
    )
    check = "pi --version"
    structured = True
    providers: tuple[str, ...] = ("anthropic", "openai", "openrouter")
    models: tuple[str, ...] = ("claude-opus-5-5", "claude-sonnet-5-5", "gpt-6.1-sol", "gpt-6-luna")
    efforts: tuple[str, ...] = ("low", "medium", "high", "max")
    needs_mb = 384

    def turn(self, task: Task) -> Command:
        """A session is taken up by its id or begun with it; model and effort are said each time."""
        access = chosen(task, self.providers, self.models[0])
        prompt = f"{task.folder}/prompt"
        files = {prompt: task.message.encode(errors="surrogateescape")}
        words = [*FLAGS, "--provider", access.provider, "--model", access.model]
        words += ["--session-id", task.session or task.fresh_id]
        if task.effort:
            words += ["--thinking", task.effort]
        if task.system_prompt:
            path = f"{task.folder}/system-prompt"
            files[path] = task.system_prompt.encode(errors="surrogateescape")
            words += ["--append-system-prompt", path]
        if access.custom:
            files[f"{HOME}/models.json"] = _models(access)
        argv = ("bash", "-c", 'exec pi "$@" < "$0"', prompt, *words)
        return Command(argv, files, {"PI_TELEMETRY": "0"}, access.secret_env)

    def inject(self, briefing: Briefing) -> Injection:
        """Its user-level places, so that the repository stays as it is."""
        files = {f"{HOME}/prompts/{command.name}.md": command.text.encode() for command in briefing.commands}
        for skill in briefing.skills:
            files |= {f"{HOME}/skills/{skill.name}/{path}": data for path, data in skill.files.items()}
        if briefing.document:
            files[f"{HOME}/AGENTS.md"] = briefing.document.encode()
        return Injection(files)

    def parse(self, state: dict[str, Any], line: dict[str, Any], t: int) -> Iterator[Event]:
        """See `pi_stream`."""
        return pi_stream.events(state, line, t)

    def judge(self, ended: Exit, found: Found) -> Verdict:
        """By its closing event: its exit status is 0 when a model failed, too."""
        if found.end is None:
            if "No API key found" in found.stderr:
                return no_key(self.name, "an Anthropic, OpenAI or OpenRouter")
            return unfinished(self.name, ended, found)
        if found.end.get("ok"):
            return Verdict("succeeded")
        if found.end.get("reason") == "aborted":
            return Verdict("interrupted", Reason.INTERRUPTED, Reason.sentence(Reason.INTERRUPTED))
        return refusal(found.end.get("status"), str(found.end.get("text") or ""))


def _models(access: Access) -> bytes:
    """Pi's own file of endpoints: the key stands in it as a variable's name only."""
    config: dict[str, Any] = {"baseUrl": access.bare() if access.provider == "anthropic" else access.versioned()}
    if access.endpoint and not access.endpoint.key:
        config["apiKey"] = "none"  # it would not begin without one
    if access.provider == "openai" and not access.vendors_own:
        # Compatible servers have Chat Completions, rarely more.
        model = UNKNOWN_MODEL | {"id": access.model, "name": access.model}
        config = {"apiKey": f"${access.variable}"} | config | {"api": "openai-completions", "models": [model]}
    return json.dumps({"providers": {access.provider: config}}, indent=1).encode()
