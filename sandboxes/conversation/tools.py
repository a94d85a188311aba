"""What a tool call shows: one telling line, and when it is opened what went in and came out.

The four CLIs name the same tools and arguments differently, and whatever they send is only data: nothing here relies
on a shape.
"""

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.safestring import SafeString

from codecourier import code

HOME = "/home/user/project/"
LINE_CHARS = 200
# What is shown of an input or an output before "Show all".
SHOWN_CHARS, SHOWN_LINES = 8_000, 120
# Of a diff, which takes more room.
SHOWN_ROWS = 200

ICONS = {
    "terminal-2": ("bash", "shell", "exec", "exec_command", "command_execution", "local_shell", "bashoutput"),
    "file-text": ("read", "view", "cat"),
    "file-plus": ("write", "create", "create_file"),
    "pencil": ("edit", "multiedit", "apply_patch", "patch", "file_change", "str_replace", "notebookedit"),
    "search": ("grep", "glob", "search", "find", "ls", "list", "toolsearch"),
    "world": ("webfetch", "websearch", "web_search", "fetch"),
    "list-check": ("todowrite", "todoread", "todo_list", "update_plan", "taskcreate", "taskupdate"),
    "robot": ("task", "agent", "subagent"),
    "book": ("skill",),
}
ICON_OF = {name: icon for icon, names in ICONS.items() for name in names}
# The first of these that an input has tells what a call is about.
TELLING = (
    *("command", "cmd", "pattern", "query", "file_path", "filePath", "path", "filepath", "notebook_path", "url"),
    *("skill", "description", "prompt", "input", "patch", "name", "title"),
)
OLD, NEW = ("old_string", "oldString", "oldText", "old_str"), ("new_string", "newString", "newText", "new_str")
PATHS = ("file_path", "filePath", "path", "filepath", "notebook_path")
CONTENTS = ("content", "contents", "file_text")
TODOS, ENTRY = ("todos", "items", "plan"), ("content", "text", "step")
PATCHES = ("patch", "patchText", "input", "diff", "unified_diff")


@dataclass(frozen=True, slots=True)
class Section:
    """One part of an opened call: a text (`html`) or the rows of a diff; `more` says that there is more of it."""

    title: str
    html: SafeString | None = None
    rows: tuple[code.Row, ...] = ()
    more: bool = False


def icon(name: str) -> str:
    """The icon of a tool by whatever name it goes."""
    return ICON_OF.get(name.lower(), "plug" if "mcp" in name or "__" in name else "tool")


def telling(given: Any) -> str:
    """The argument that says what a call is about, on one line."""
    line = " ".join(_first(given).split())
    return line if len(line) <= LINE_CHARS else line[: LINE_CHARS - 1] + "…"


def _first(given: Any) -> str:
    if not isinstance(given, dict):
        return str(given or "")
    for name in TELLING:
        if given.get(name):
            return unwrapped(given[name]) if name in {"command", "cmd"} else _short(given[name])
    if listed := todos(given):
        return f"{sum(done for done, _ in listed)} of {len(listed)} done"
    if paths := [path for path, _ in changes(given)]:
        return ", ".join(paths)
    return "" if not given else json.dumps(given, ensure_ascii=False)[:LINE_CHARS]


def unwrapped(command: Any) -> str:
    """The script of `bash -lc SCRIPT`, which is what was meant."""
    words = command if isinstance(command, list) else None
    if isinstance(command, str) and command.startswith(("bash -", "/bin/bash -", "sh -", "/bin/sh -")):
        try:
            words = shlex.split(command)
        except ValueError:
            words = None
    if words and len(words) == 3 and words[1] in {"-lc", "-c"}:
        return str(words[2])
    return " ".join(map(str, command)) if isinstance(command, list) else str(command)


def _short(value: Any) -> str:
    return value.replace(HOME, "") if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _text(given: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    return next((given[name] for name in names if isinstance(given.get(name), str)), None)


def edits(given: Any) -> list[tuple[str, str]]:
    """(old, new) of each replacement that a call asks for."""
    if not isinstance(given, dict):
        return []
    listed = given.get("edits")
    parts = [part for part in (listed if isinstance(listed, list) else [given]) if isinstance(part, dict)]
    pairs = [(_text(part, OLD), _text(part, NEW)) for part in parts]
    return [(old, new or "") for old, new in pairs if old is not None]


def todos(given: Any) -> list[tuple[bool, str]]:
    """(done, what) of each entry of a to-do list."""
    listed = next((given[name] for name in TODOS if given.get(name)), None) if isinstance(given, dict) else None
    rows = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    told = [(one.get("completed") is True or one.get("status") == "completed", _text(one, ENTRY)) for one in rows]
    return [(done, text) for done, text in told if text]


def changes(given: Any) -> list[tuple[str, str]]:
    """(path, what was done) of each file that a finished change names."""
    listed = given.get("changes") if isinstance(given, dict) else None
    if isinstance(listed, dict):
        return [(_short(path), "") for path in listed]
    if not isinstance(listed, list):
        return []
    return [(_short(str(one.get("path", ""))), str(one.get("kind", ""))) for one in listed if isinstance(one, dict)]


def patch(given: Any) -> str:
    """A patch among the arguments."""
    text = _text(given, PATCHES) if isinstance(given, dict) else given
    looks = isinstance(text, str) and (text.lstrip().startswith(("*** Begin Patch", "--- ", "diff --git")))
    return str(text) if looks else ""


def counts(given: Any) -> tuple[int, int] | None:
    """(lines added, lines removed) by a call that edits; None for any other."""
    if pairs := edits(given):
        both = [code.changed(old, new) for old, new in pairs]
        return sum(added for added, _ in both), sum(removed for _, removed in both)
    if text := patch(given):
        signs = [row.sign for row in code.patched(text)]
        return signs.count("+"), signs.count("-")
    content = _text(given, CONTENTS) if isinstance(given, dict) and _text(given, PATHS) else None
    return (len(content.splitlines()), 0) if content is not None else None


def sections(given: Any, result: Mapping[str, Any] | None, whole: bool = False) -> list[Section]:
    """An opened call; `whole` leaves nothing out."""
    parts = list(_input(given, whole))
    if result is not None:
        output = code.plain(str(result.get("output") or ""))
        parts.append(_section("Error" if result.get("error") else "Output", output or "(nothing)", whole))
    return parts


def _input(given: Any, whole: bool) -> Iterator[Section]:
    if text := patch(given):
        yield _diff("Patch", code.patched(text), whole)
    elif isinstance(given, dict):
        yield from _arguments(given, whole)
    else:
        yield _section("Input", str(given or ""), whole)


def _arguments(given: Mapping[str, Any], whole: bool) -> Iterator[Section]:
    path = _text(given, PATHS) or ""
    if pairs := edits(given):
        rows = [row for old, new in pairs for row in code.compared(old, new, path)]
        yield _diff(_short(path) or "Change", rows, whole)
    elif (content := _text(given, CONTENTS)) is not None:
        yield _section(_short(path) or "Content", content, whole, filename=path)
    elif "command" in given or "cmd" in given:
        yield _section("Command", unwrapped(given.get("command") or given.get("cmd")), whole, language="bash")
        yield from _others(given, {"command", "cmd"}, whole)
    elif steps := todos(given):
        yield _section("To do", "\n".join(f"[{'x' if done else ' '}] {text}" for done, text in steps), whole)
    elif listed := changes(given):
        yield _section("Files", "\n".join(f"{kind or 'changed'}  {name}" for name, kind in listed), whole)
    else:
        yield from _others(given, set(), whole)


def _others(given: Mapping[str, Any], shown: set[str], whole: bool) -> Iterator[Section]:
    rest = {name: value for name, value in given.items() if name not in shown and value not in (None, "", [], {})}
    if rest:
        text = json.dumps(rest, indent=2, ensure_ascii=False)
        yield _section("Arguments" if shown else "Input", text, whole, language="json")


def _section(title: str, text: str, whole: bool, *, language: str = "", filename: str = "") -> Section:
    shown = text if whole else "\n".join(text[:SHOWN_CHARS].split("\n")[:SHOWN_LINES])
    return Section(title, code.coloured(shown, language, filename), more=len(shown) < len(text))


def _diff(title: str, rows: list[code.Row], whole: bool) -> Section:
    shown = rows if whole else rows[:SHOWN_ROWS]
    return Section(title, rows=tuple(shown), more=len(shown) < len(rows))
