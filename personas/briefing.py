"""What a machine gets beside the repository: plain data, the same for every tool; each agent writes it in its own form.

`brief` makes it from a project and a persona; it is stored with the sandbox as its manifest, so that a later edit
changes nothing that runs and the page can say what was injected, version by version.
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from codecourier import registries
from codecourier.models import Project
from codecourier.registries import Addition

from .models import Asset, AssetVersion, Persona

# The addition that is a project's compiled lessons.
LEARNINGS = "Learnings"


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
class Source:
    """Where a part comes from. `version` is 0 and `digest` that of the text for what has no versions."""

    kind: str
    name: str
    version: int
    digest: str


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
    # Names only: values stay where they are encrypted.
    variables: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()

    @property
    def document(self) -> str:
        """Instructions and contexts as one Markdown text, for a CLI's instructions file."""
        parts = [self.instructions.strip(), *(f"# {name}\n\n{text.strip()}" for name, text in self.contexts.items())]
        return "\n\n".join(part for part in parts if part) + "\n" if any(parts) else ""

    @property
    def learnings(self) -> int:
        """The version of the project's lessons that is in it, 0 for none."""
        return next((source.version for source in self.sources if source.kind == LEARNINGS), 0)

    def to_json(self) -> dict[str, Any]:
        """For a JSON column; the bytes of skills as base64."""
        return {
            "system_prompt": self.system_prompt,
            "instructions": self.instructions,
            "contexts": dict(self.contexts),
            "skills": [{"name": skill.name, "files": _texts(skill.files)} for skill in self.skills],
            "commands": [{"name": command.name, "text": command.text} for command in self.commands],
            "scripts": [{"name": script.name, "text": script.text} for script in self.scripts],
            "variables": list(self.variables),
            "sources": [asdict(source) for source in self.sources],
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
            variables=tuple(value.get("variables", ())),
            sources=tuple(Source(**source) for source in value.get("sources", [])),
        )


def _texts(files: Mapping[str, bytes]) -> dict[str, str]:
    return {path: base64.b64encode(data).decode() for path, data in files.items()}


def _bytes(files: Mapping[str, str]) -> dict[str, bytes]:
    return {path: base64.b64decode(data) for path, data in files.items()}


def brief(project: Project, persona: Persona | None = None, context: Asset | None = None) -> Briefing:
    """What a sandbox of a project gets, with a persona or without one; a `context` goes before the persona's own."""
    versions = [asset.active for asset in assets_of(persona, context) if asset.active]
    told = [project.system_prompt.strip(), persona.instructions.strip() if persona else ""]
    added = additions(project, persona)
    contexts = {version.asset.name: text(version) for version in of(versions, Asset.Kind.CONTEXT)}
    return Briefing(
        system_prompt="\n\n".join(part for part in told if part),
        instructions=project.instructions,
        contexts={one.name: one.text for one in added} | contexts,
        skills=tuple(Skill(version.asset.name, version.contents) for version in of(versions, Asset.Kind.SKILL)),
        commands=tuple(Command(version.asset.name, text(version)) for version in of(versions, Asset.Kind.COMMAND)),
        scripts=tuple(Script(version.asset.name, text(version)) for version in of(versions, Asset.Kind.SCRIPT)),
        variables=tuple(project.variables.values_list("name", flat=True)),
        sources=(*texts(project, persona), *(told_of(project, one) for one in added), *map(source, versions)),
    )


def additions(project: Project, persona: Persona | None) -> list[Addition]:
    """What other apps have to tell every machine of the project; empty texts are left out."""
    role = persona.role if persona else ""
    return [one for add in registries.additions for one in add(project, role) if one.text.strip()]


def assets_of(persona: Persona | None, context: Asset | None = None) -> list[Asset]:
    """A context first, the persona's unless there is another, then what else the persona brings."""
    bound = context or (persona.context if persona else None)
    others = persona.assets.kept().select_related("active__asset") if persona else ()
    return [*([bound] if bound and not bound.archived_at else []), *others]


def of(versions: list[AssetVersion], kind: str) -> list[AssetVersion]:
    """Those of one kind."""
    return [version for version in versions if version.asset.kind == kind]


def text(version: AssetVersion) -> str:
    """The one file of a version."""
    return version.contents.get(version.asset.main, b"").decode(errors="replace")


def source(version: AssetVersion) -> Source:
    """What the manifest says of a version."""
    return Source(version.asset.get_kind_display(), version.asset.name, version.number, version.digest)


def told_of(project: Project, added: Addition) -> Source:
    """What it says of an addition."""
    return Source(added.name, project.name, added.version, hashlib.sha256(added.text.encode()).hexdigest())


def texts(project: Project, persona: Persona | None) -> list[Source]:
    """What the manifest says of texts that have no versions; empty ones are left out."""
    found = [
        ("System prompt", project.name, project.system_prompt),
        ("Instructions", project.name, project.instructions),
    ]
    if persona:
        found.append(("Persona", persona.name, persona.instructions))
    return [
        Source(kind, name, 0, hashlib.sha256(said.encode()).hexdigest()) for kind, name, said in found if said.strip()
    ]
