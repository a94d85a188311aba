"""`manage.py demo`: the main job once, headless, on the real stack."""

import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from codecourier import up
from codecourier.models import Membership, User
from sandboxes import demonstration, fleet, watching
from sandboxes.models import Output, Sandbox, Template
from sandboxes.reasons import Reason

from .launch import show_text


class Command(BaseCommand):
    """Exit status 0 only if all of it really happened."""

    help = "Makes a demo project with a failing test and has a script sandbox mend it."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        """Launch, watch, check."""
        try:
            with up.stack(say=self.say):
                sandbox = run(self)
                faults = [*check(sandbox)]
        except up.UpError as error:
            raise CommandError(str(error), returncode=2) from error
        report(self, sandbox)
        for fault in faults:
            self.stderr.write(f"Not as it should be: {fault}")
        if faults:
            sys.exit(1)
        self.say("The demo did what it promised.")

    def say(self, line: str) -> None:
        """To stdout, at once."""
        self.stdout.write(line)
        self.stdout.flush()


def run(command: Command) -> Sandbox:
    """The demo's sandbox, launched, watched and ended."""
    project = demonstration.make_project(demonstration.make_repository(settings.STATE / "demo" / "repository"))
    for user in User.objects.filter(is_superuser=True):
        Membership.objects.get_or_create(project=project, user=user, defaults={"role": "owner"})
    sandbox = fleet.launch(
        project, None, template=Template.objects.get(slug="script"), prompt=demonstration.SCRIPT,
        repository_url=project.repository_url, branch="main", labels={"source": "demo"},
    )  # fmt: skip
    command.say(f"Sandbox {sandbox.pk} on {project.repository_url}")
    watch, turn = watching.Watch(sandbox), sandbox.turns.get()
    for event in watch.events(turn):
        show_text(event, command)
    sandbox.refresh_from_db()
    fleet.stop(sandbox, None, Reason.FINISHED)
    for event in watch.until_final():
        show_text(event, command)
    return sandbox


def check(sandbox: Sandbox) -> list[str]:
    """What did not happen as promised, in words."""
    sandbox.refresh_from_db()
    turn = sandbox.turns.get()
    rows = Output.objects.filter(job=turn.job).order_by("seq").values_list("data", flat=True)
    absent = demonstration.missing(b"".join(bytes(data) for data in rows).decode(errors="replace"))
    facts = {
        f"the turn is {turn.status} ({turn.detail})": turn.status == "succeeded",
        f"the sandbox is {sandbox.status} ({sandbox.detail})": (sandbox.status, sandbox.reason)
        == ("killed", "finished"),
        "its machine is not known to be gone": sandbox.released_at is not None,
        f"the output does not say {absent!r}": absent is None,
        "a phase of the boot is open": not sandbox.phases.filter(ended_at=None).exists(),
    }
    return [words for words, good in facts.items() if not good]


def report(command: Command, sandbox: Sandbox) -> None:
    """Status, duration, timeline and resource use."""
    command.say("")
    command.say(f"Status    {sandbox.status} ({sandbox.reason}): {sandbox.detail}")
    command.say(f"Duration  {sandbox.ran_ms / 1000:.2f} s of running time")
    for name, status, seconds, detail in watching.timeline(sandbox):
        took = f"{seconds:7.2f} s" if seconds is not None else "        -"
        command.say(f"  {took}  {status:<10} {name}{f': {detail}' if detail else ''}")
    for name, value in watching.resources(sandbox).items():
        command.say(f"{name.replace('_', ' ').capitalize():<16} {value}")
