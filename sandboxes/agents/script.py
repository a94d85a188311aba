"""The script tool: the prompt is a bash script, success is exit status 0, no key needed."""

from collections.abc import Iterator
from typing import Any

from personas.briefing import Briefing

from .base import Command, Event, Exit, Found, Injection, Package, Task, Verdict


class Script:
    """Deterministic steps beside the AI ones."""

    name = "Script"
    package: Package | None = None
    check = "bash --version | head -n 1"
    structured = False
    providers: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    efforts: tuple[str, ...] = ()
    needs_mb = 256

    def turn(self, task: Task) -> Command:
        """The script goes into a file: as an argument it would be limited to 128 KiB, as stdin it would be eaten."""
        path = f"{task.folder}/script"
        text = task.prompt.replace("\r\n", "\n")
        return Command(argv=("bash", path), files={path: text.encode(errors="surrogateescape")})

    def inject(self, briefing: Briefing) -> Injection:
        """A script reads no instructions; scripts on its PATH it has like every tool."""
        names = [*briefing.contexts, *(skill.name for skill in briefing.skills)]
        names += [f"/{command.name}" for command in briefing.commands]
        return Injection(undelivered=tuple((name, "A bash script reads no instructions.") for name in names))

    def parse(self, state: dict[str, Any], line: dict[str, Any], t: int) -> Iterator[Event]:
        """Its output is not read, only shown."""
        return iter(())

    def judge(self, ended: Exit, found: Found) -> Verdict:
        """Exit status 0 or not."""
        if ended.code == 0:
            return Verdict("succeeded")
        if ended.signal:
            return Verdict("failed", "exit", f"The script was ended by signal {ended.signal}.")
        return Verdict("failed", "exit", f"The script ended with exit status {ended.code}.")
