"""The phase `template`: what a machine is made from is seen to before one is asked for.

Locally the agent's programs, installed on this machine; in the cloud a template of the sandbox's size.
"""

from dataclasses import dataclass

from django.conf import settings
from django.utils import timezone

from . import e2b, sizes, tools
from .agents import AGENTS
from .models import Build, Phase, Sandbox


@dataclass(frozen=True)
class Stand:
    """How far it is. `failed` says why it will not be."""

    done: bool
    log: str
    failed: str = ""
    detail: str = ""


def needed(sandbox: Sandbox) -> bool:
    """Whether anything is missing."""
    provider = e2b.provider_of(sandbox.project)
    if provider.name == e2b.CLOUD:
        return not sizes.known(sandbox, provider)
    place = place_of(sandbox)
    return place is not None and not place.folder.is_dir()


def look(sandbox: Sandbox, phase: Phase) -> Stand:
    """How it stands now; begun when nobody has."""
    provider = e2b.provider_of(sandbox.project)
    return _build(sandbox, provider) if provider.name == e2b.CLOUD else _install(sandbox, phase)


def place_of(sandbox: Sandbox) -> tools.Place | None:
    """Where its agent's programs belong on this machine; None for one that every machine has."""
    package = AGENTS[sandbox.tool].package
    return tools.Place(settings.TOOLS, sandbox.tool, package) if package else None


def _install(sandbox: Sandbox, phase: Phase) -> Stand:
    place = place_of(sandbox)
    if place is None:
        return Stand(True, "")
    seen = tools.progress(place, phase.started_at or timezone.now())
    return Stand(seen.done, seen.log, seen.failed, f"{AGENTS[sandbox.tool].name} {place.package.version}")


def _build(sandbox: Sandbox, provider: e2b.Provider) -> Stand:
    build = sizes.wanted(sandbox, provider)
    failed = build.detail if build.status == Build.Status.FAILED else ""
    return Stand(build.status == Build.Status.READY, build.log, failed, build.name)
