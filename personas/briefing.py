"""What a machine gets beside the repository: plain data, the same for every tool; each agent writes it in its own form.

`brief` makes it for a project; it is stored with the sandbox, so that a later edit changes nothing that runs.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from codecourier.models import Project


@dataclass(frozen=True)
class Skill:
    """A folder of files, by relative path; one of them is `SKILL.md`."""

    name: str
    files: Mapping[str, bytes]


@dataclass(frozen=True)
class Command:
    """A prompt that is called as `/name`, in Markdown."""

    name: str
    text: str


@dataclass(frozen=True)
class Script:
    """An executable file."""

    name: str
    text: str


@dataclass(frozen=True)
class Briefing:
    """Everything an agent is given before its first message."""

    system_prompt: str = ""
    instructions: str = ""
    # Name to Markdown; agents have no place of their own for them, so they follow the instructions.
    contexts: Mapping[str, str] = field(default_factory=dict)
    skills: tuple[Skill, ...] = ()
    commands: tuple[Command, ...] = ()
    scripts: tuple[Script, ...] = ()

    @property
    def document(self) -> str:
        """Instructions and contexts as one Markdown text, for a CLI's instructions file."""
        parts = [self.instructions.strip(), *(f"# {name}\n\n{text.strip()}" for name, text in self.contexts.items())]
        return "\n\n".join(part for part in parts if part) + "\n" if any(parts) else ""

    def to_json(self) -> dict[str, Any]:
        """For a JSON column; the bytes of skills as base64."""
        return {
            "system_prompt": self.system_prompt,
            "instructions": self.instructions,
            "contexts": dict(self.contexts),
            "skills": [{"name": skill.name, "files": _texts(skill.files)} for skill in self.skills],
            "commands": [{"name": command.name, "text": command.text} for command in self.commands],
            "scripts": [{"name": script.name, "text": script.text} for script in self.scripts],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The reverse of `to_json`; what is missing is empty."""
        return cls(
            system_prompt=value.get("system_prompt", ""),
            instructions=value.get("instructions", ""),
            contexts=value.get("contexts", {}),
            skills=tuple(Skill(skill["name"], _bytes(skill["files"])) for skill in value.get("skills", [])),
            commands=tuple(Command(**command) for command in value.get("commands", [])),
            scripts=tuple(Script(**script) for script in value.get("scripts", [])),
        )


def _texts(files: Mapping[str, bytes]) -> dict[str, str]:
    return {path: base64.b64encode(data).decode() for path, data in files.items()}


def _bytes(files: Mapping[str, str]) -> dict[str, bytes]:
    return {path: base64.b64decode(data) for path, data in files.items()}


def brief(project: Project) -> Briefing:
    """What every sandbox of a project gets."""
    return Briefing(system_prompt=project.system_prompt, instructions=project.instructions)
