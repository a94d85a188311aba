"""OpenCode: `opencode run --format json`, which speaks with Anthropic, OpenAI and OpenRouter.

Contract: runs of 1.18.33 against a scripted server (tests/agents).
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from personas.briefing import Briefing

from . import opencode_stream
from .access import Access, chosen
from .base import Command, Event, Exit, Found, Injection, Package, Task, Verdict
from .verdicts import no_key, refusal, unfinished

HOME = "/home/user/.config/opencode"
ENV = {
    # The catalogue that it brings is enough: a model that is not in it is added to its configuration.
    "OPENCODE_DISABLE_MODELS_FETCH": "1",
    "OPENCODE_DISABLE_AUTOUPDATE": "1",
    "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
}
FLAGS = (
    *("--format", "json"),
    "--auto",
    "--thinking",
    # Else it asks the model for one, in a call whose tokens it does not tell.
    *("--title", "CodeCourier"),
)
# It installs its plugin package from npm whenever these two do not say that it is there.
LOCK = {"name": "opencode", "lockfileVersion": 3, "packages": {"": {"dependencies": {"@opencode-ai/plugin": "*"}}}}
SETTLED = {f"{HOME}/package-lock.json": json.dumps(LOCK).encode(), f"{HOME}/node_modules/.keep": b""}
COMPATIBLE = "compatible"
# It takes commands as an option only, and refuses unknown ones: what no file is named after is a prompt like others.
CALL = re.compile(r"/([\w.-]+)\s*(.*)", re.DOTALL)
RUN_COMMAND = """
command=$1; shift
for place in ~/.config/opencode/commands .opencode/commands .opencode/command; do
  [ ! -f "$place/$command.md" ] || exec opencode run --command "$command" "$@" < "$0-arguments"
done
exec opencode run "$@" < "$0"
"""


class OpenCode:
    """The open-source agent of many providers."""

    name = "OpenCode"
    package: Package | None = Package(
        npm="opencode-ai",
        version="1.18.33",
        programs={"opencode": "opencode-linux-x64/bin/opencode"},
        says=r"1\.18\.33",
    )
    check = "opencode --version"
    structured = True
    providers: tuple[str, ...] = ("anthropic", "openai", "openrouter")
    models: tuple[str, ...] = ("claude-opus-5-5", "claude-sonnet-5-5", "gpt-6.1-sol", "gpt-6-luna")
    efforts: tuple[str, ...] = ("low", "medium", "high", "max")
    needs_mb = 1100

    def turn(self, task: Task) -> Command:
        """Everything is said each time: a session keeps none of it."""
        access = chosen(task, self.providers, self.models[0])
        prompt = f"{task.folder}/prompt"
        files = {prompt: task.message.encode(errors="surrogateescape")} | SETTLED
        config = _config(access, task.effort)
        if task.system_prompt:
            path = f"{task.folder}/system-prompt"
            files[path] = task.system_prompt.encode(errors="surrogateescape")
            config["instructions"] = [path]
        words = [*FLAGS, "-m", f"{_provider(access)}/{access.model}"]
        if task.effort:
            words += ["--variant", task.effort]
        if task.session:
            words += ["--session", task.session]
        argv = ["bash", "-c", 'exec opencode run "$@" < "$0"', prompt, *words]
        if command := CALL.match(task.message):
            files[f"{prompt}-arguments"] = command[2].encode(errors="surrogateescape")
            argv = ["bash", "-c", RUN_COMMAND, prompt, command[1], *words]
        return Command(tuple(argv), files, ENV | {"OPENCODE_CONFIG_CONTENT": json.dumps(config)}, access.secret_env)

    def inject(self, briefing: Briefing) -> Injection:
        """Its user-level places, so that the repository stays as it is."""
        files = {f"{HOME}/commands/{command.name}.md": command.text.encode() for command in briefing.commands}
        for skill in briefing.skills:
            files |= {f"{HOME}/skills/{skill.name}/{path}": data for path, data in skill.files.items()}
        if briefing.document:
            files[f"{HOME}/AGENTS.md"] = briefing.document.encode()
        return Injection(files)

    def parse(self, state: dict[str, Any], line: dict[str, Any], t: int) -> Iterator[Event]:
        """See `opencode_stream`."""
        return opencode_stream.events(state, line, t)

    def judge(self, ended: Exit, found: Found) -> Verdict:
        """By its last error, else by the answer that ended its work: it has no closing event of its own."""
        if found.errors:
            error = found.errors[-1]
            text = str(error.get("text") or "")
            if error.get("name") == "ProviderAuthError" or "API key is missing" in text:
                return no_key(self.name, "an Anthropic, OpenAI or OpenRouter")
            return refusal(error.get("status"), text)
        if found.end and found.end.get("ok") and ended.code == 0:
            return Verdict("succeeded")
        return unfinished(self.name, ended, found)


def _config(access: Access, effort: str) -> dict[str, Any]:
    """Its configuration, above the user's and the repository's; the key stands in it as a variable's name only."""
    options: dict[str, Any] = {}
    if access.custom:
        options["baseURL"] = access.versioned()
    if access.endpoint:
        options["apiKey"] = f"{{env:{access.variable}}}" if access.endpoint.key else "none"
    provider: dict[str, Any] = {"options": options, "models": {access.model: _model(access, effort)}}
    if _provider(access) == COMPATIBLE:
        provider["npm"] = "@ai-sdk/openai-compatible"
    return {"share": "disabled", "autoupdate": False, "provider": {_provider(access): provider}}


def _provider(access: Access) -> str:
    """OpenAI's own is asked for Responses whatever it is told; compatible servers have Chat Completions."""
    return COMPATIBLE if access.provider == "openai" and not access.vendors_own else access.provider


def _model(access: Access, effort: str) -> dict[str, Any]:
    """What its catalogue may not know; for Anthropic's models it finds out by their names how to ask for an effort."""
    if not effort:
        return {}
    level = access.effort(effort)
    asked: dict[str, dict[str, Any]] = {
        "openai": {"reasoningEffort": level},
        "openrouter": {"reasoning": {"effort": level}},
    }
    variants = {effort: asked[access.provider]} if access.provider in asked else {}
    return {"reasoning": True, "variants": variants}
