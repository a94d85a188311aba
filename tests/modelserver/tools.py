"""Turns a directive into a call of a tool that the request offers, by the tool's own schema."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SHELLS = ("Bash", "bash", "exec_command", "shell_command", "shell")
WRITERS = ("Write", "write")
COMMANDS = ("command", "cmd")
PATHS = ("file_path", "filePath", "path")
# Codex gives its newer models one tool that runs JavaScript, from which they call the others.
CODE = "exec"
PATCH = "*** Begin Patch\n*** Add File: {}\n{}\n*** End Patch\n"


@dataclass(frozen=True)
class Tool:
    """A tool as a request offers it; `schema` is None for one that takes free text."""

    name: str
    schema: Mapping[str, Any] | None


@dataclass(frozen=True)
class Call:
    """A tool and its input: an object, or a text where the tool takes free text."""

    name: str
    input: dict[str, Any] | str

    @property
    def arguments(self) -> str:
        """The input as it is streamed."""
        return self.input if isinstance(self.input, str) else json.dumps(self.input)


def call(directive: str, argument: str, offered: Mapping[str, Tool]) -> Call | None:
    """The call for a directive; None when nothing fits, as for a request without tools."""
    if not offered:
        return None
    if directive == "tool":
        name, _, text = argument.partition(" ")
        return Call(name, json.loads(text.replace("<<", "[[").replace(">>", "]]") or "{}"))
    if directive == "write":
        return _write(*(part.strip() for part in argument.split("|", 1)), offered=offered)
    return _shell(argument, offered)


def _shell(command: str, offered: Mapping[str, Tool]) -> Call | None:
    tool = next((offered[name] for name in SHELLS if name in offered), None)
    if tool is None and CODE in offered:
        return Call(CODE, f"text(await tools.exec_command({{cmd: {json.dumps(command)}}}))")
    if tool is None:
        return None
    properties = (tool.schema or {}).get("properties", {})
    name = next(name for name in COMMANDS if name in properties)
    value = ["bash", "-lc", command] if properties[name].get("type") == "array" else command
    return Call(tool.name, _required(tool, {name: value}))


def _write(path: str, content: str, *, offered: Mapping[str, Tool]) -> Call | None:
    tool = next((offered[name] for name in WRITERS if name in offered), None)
    if tool:
        name = next(name for name in PATHS if name in (tool.schema or {}).get("properties", {}))
        return Call(tool.name, _required(tool, {name: path, "content": content + "\n"}))
    if "apply_patch" in offered:
        text = _patch(path, content)
        return Call("apply_patch", text if offered["apply_patch"].schema is None else {"input": text})
    if CODE in offered:
        return Call(CODE, f"text(await tools.apply_patch({json.dumps(_patch(path, content))}))")
    return _shell(f"cat > {path} <<'END'\n{content}\nEND", offered)


def _patch(path: str, content: str) -> str:
    return PATCH.format(path, "\n".join(f"+{line}" for line in content.split("\n")))


def _required(tool: Tool, values: dict[str, Any]) -> dict[str, Any]:
    """The values with something harmless for whatever else the tool insists on."""
    schema = tool.schema or {}
    properties = schema.get("properties", {})
    missing = [name for name in schema.get("required", []) if name not in values]
    return values | {name: _harmless(properties.get(name, {})) for name in missing}


def _harmless(schema: Mapping[str, Any]) -> Any:
    """Null where that is allowed."""
    kinds = {"string": "scripted", "number": 1, "integer": 1, "boolean": False, "array": [], "object": {}}
    allowed = [one.get("type") for one in schema.get("anyOf", [schema])]
    return None if "null" in allowed else kinds.get(allowed[0], "scripted")
