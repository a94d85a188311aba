"""The real CLIs in the real product: worker, relay, local host with the installed tools, and the scripted models."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from codecourier.models import Endpoint, Project, ProviderKey, User
from personas.briefing import Briefing, Command, Skill
from sandboxes import e2b, fleet, turns
from sandboxes.models import Event, Job, Sandbox, Template, Turn
from tests.agents.clis import Cli
from tests.modelserver import ModelServer
from tests.stack import Stack, own_database, wait_for

# What the briefing says, found again in what the server received.
SYSTEM, INSTRUCTION, SKILL, COMMAND = "SYSTEM-MARK-41", "INSTRUCTION-MARK-52", "skillmark63", "COMMAND-MARK-74"
BRIEFING = Briefing(
    system_prompt=f"Remember {SYSTEM}.",
    instructions=f"Keep {INSTRUCTION} in mind.",
    skills=(Skill(SKILL, {"SKILL.md": f"---\nname: {SKILL}\ndescription: Says {SKILL}.\n---\nSay it.\n".encode()}),),
    commands=(Command("salute", f"{COMMAND} $ARGUMENTS"),),
)
PROCESSES = """
: the listing itself
for folder in /proc/[0-9]*; do
  echo "${folder#/proc/} $(tr '\\0\\n' '  ' < $folder/cmdline)"
done 2>/dev/null
true
"""
# What runs in every machine: the sandbox's first process, its daemon, our courier, and the listing itself.
HOUSEKEEPING = ("bwrap --", "/opt/envd/envd", "import courier", ": the listing itself")
# How long a turn of the slowest CLI may take on a busy machine.
PATIENCE = 120.0


class AgentStack(Stack):
    """The stack whose sandboxes have the agents' programs and reach the model server."""

    def __init__(self, state: Path, database_url: str, server: ModelServer, **env: str) -> None:
        super().__init__(state, database_url, TOOLS=str(settings.TOOLS), **env)
        self.server = server

    def host_options(self) -> list[str]:
        """With the tools as `manage.py tools` installed them."""
        allowed = f"127.0.0.1:{self.server.port}"
        return [*super().host_options(), "--tools", str(settings.TOOLS), "--allow-private", allowed]


@contextmanager
def running(state: Path, **env: str) -> Iterator[AgentStack]:
    """Everything but the web process, which no turn needs."""
    with ModelServer.running() as server, own_database(state) as url:
        stack = AgentStack(state, url, server, **env)
        try:
            stack.start("host", "worker", "relay")
            yield stack
        finally:
            stack.stop()


@dataclass(frozen=True)
class Conversation:
    """A sandbox with one CLI, in a project of its own whose models are one scope of the server."""

    stack: AgentStack
    cli: Cli
    scope: str
    user: User
    sandbox: Sandbox

    def send(self, prompt: str) -> Turn:
        """Queue another message."""
        return turns.send(self.sandbox, self.user, prompt)

    def booted(self, turn: Turn) -> bool:
        """Whether the turn's command has been started."""
        turn.refresh_from_db()
        return turn.started_at is not None or turn.final

    def over(self, turn: Turn, seconds: float = PATIENCE) -> Turn:
        """The turn once it has ended."""

        def ended() -> Turn | None:
            turn.refresh_from_db()
            return turn if turn.final else None

        return wait_for(ended, f"turn {turn.pk} of {self.cli.tool} to end", seconds)

    def events(self, turn: Turn) -> list[Event]:
        """What a turn's agent did and said."""
        return list(Event.objects.filter(job=turn.job).order_by("seq"))

    def interrupt(self, turn: Turn) -> Turn:
        """Ask it to stop, and wait until it has."""
        turns.interrupt(self.sandbox, self.user)
        return self.over(turn)

    def processes(self) -> dict[int, str]:
        """What the turns' commands and their children run in the machine: command lines by process id."""
        self.sandbox.refresh_from_db()
        said = e2b.machine_of(self.sandbox).run(PROCESSES, "list the processes")
        found = {int(pid): words.strip() for pid, _, words in (line.partition(" ") for line in said.splitlines())}
        return {pid: words for pid, words in found.items() if words and not any(one in words for one in HOUSEKEEPING)}

    def tool_runs(self, mark: str) -> bool:
        """Whether one of them has this mark."""
        return any(mark in words for words in self.processes().values())

    def in_tool(self, turn: Turn, mark: str) -> None:
        """Wait until a tool of the turn runs that has this mark."""

        def running() -> bool:
            turn.refresh_from_db()
            assert not turn.final, f"the turn was over before its tool ran: {turn.detail}"
            return turn.started_at is not None and self.tool_runs(mark)

        wait_for(running, f"the tool of {self.cli.tool} to run", PATIENCE)

    def end(self) -> None:
        """Give the machine back."""
        fleet.stop(self.sandbox, self.user)

        def released() -> bool:
            self.sandbox.refresh_from_db()
            return self.sandbox.released_at is not None

        wait_for(released, f"the machine of {self.cli.tool} to be gone")


def project_for(stack: AgentStack, cli: Cli, *, key: str | None = None) -> tuple[Project, User, str]:
    """A project whose provider is a scope of the model server; `key` None for the right one, empty for none of it."""
    project, user = stack.project()
    if key != "":
        url = stack.server.url(project.slug) + cli.path
        Endpoint.objects.create(project=project, provider=cli.provider, base_url=url)
        ProviderKey.objects.create(project=project, provider=cli.provider, secret=key or stack.server.key)
    return project, user, project.slug


@contextmanager
def conversing(
    stack: AgentStack, cli: Cli, prompt: str, *, key: str | None = None, **fields: Any
) -> Iterator[tuple[Conversation, Turn]]:
    """A new sandbox with its first message, gone at the end."""
    project, user, scope = project_for(stack, cli, key=key)
    fields = {"designer_model": cli.model, "effort": cli.effort} | fields
    template = Template.objects.get(slug=cli.tool)
    with transaction.atomic():
        sandbox = fleet.launch(project, user, template=template, prompt=prompt, **fields)
        Sandbox.objects.filter(pk=sandbox.pk).update(briefing=BRIEFING.to_json())
    conversation = Conversation(stack, cli, scope, user, sandbox)
    try:
        yield conversation, sandbox.turns.get()
    except Exception as error:
        error.add_note(explain(conversation))
        raise
    finally:
        conversation.end()


def explain(conversation: Conversation) -> str:
    """Whatever helps to see why a turn did not go as it should."""
    sandbox = conversation.sandbox
    sandbox.refresh_from_db()
    lines = [f"sandbox {sandbox.status} {sandbox.reason} {sandbox.detail}"]
    lines += [f"phase {phase.name} {phase.status} {phase.detail}" for phase in sandbox.phases.order_by("position")]
    for job in Job.objects.filter(sandbox=sandbox).order_by("pk"):
        lines.append(f"job {job.kind} {job.status} {job.exit_code} {job.exit_signal} {job.exit_reason} {job.detail}")
        lines += [f"  {event.kind} {str(event.data)[:300]}" for event in job.transcript.order_by("seq")]
    lines += [f"turn {turn.status} {turn.reason} {turn.detail}" for turn in sandbox.turns.all()]
    lines += [f"request {one.path} {one.model}" for one in conversation.stack.server.requests(conversation.scope)]
    return "\n".join(lines)
