"""`manage.py launch`: one prompt in a sandbox of its own, its output live on stdout."""

import sys
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from codecourier import up
from codecourier.models import Project
from sandboxes import fleet, watching
from sandboxes.models import Sandbox, Template, Turn
from sandboxes.reasons import Reason


class Command(BaseCommand):
    """Exit status 0 for a turn that succeeded, 1 for one that did not, 2 for a bad call."""

    help = "Runs a prompt in a new sandbox and prints its output; the sandbox ends with the turn."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """The fields of a sandbox, as far as a command line wants them."""
        parser.add_argument("prompt", help="What to do; - reads it from stdin.")
        parser.add_argument("--project", required=True, metavar="SLUG")
        parser.add_argument("--tool", default="script")
        parser.add_argument("--repo", default=None, metavar="URL", help="Default: the project's repository.")
        parser.add_argument("--branch", default="")
        parser.add_argument("--cpu", type=int)
        parser.add_argument("--memory", type=int, metavar="MB")
        parser.add_argument("--timeout", type=int, metavar="MS")
        parser.add_argument("--keep", action="store_true", help="Leave the sandbox running.")
        parser.add_argument("--json", action="store_true", help="One event a line, the record last.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Launch, print, end, and say how it went by the exit status."""
        prompt = sys.stdin.read() if options["prompt"] == "-" else options["prompt"]
        if not prompt.strip():
            raise CommandError("The prompt is empty. Write what to do, or - to read it from stdin.", returncode=2)
        try:
            with up.stack(say=self.note):
                record = run(start(prompt, options), options, self)
        except up.UpError as error:
            raise CommandError(str(error), returncode=2) from error
        if record["turn"] != Turn.Status.SUCCEEDED:
            sys.exit(1)

    def note(self, line: str) -> None:
        """Beside the output, never in it."""
        self.stderr.write(line)


def start(prompt: str, options: dict[str, Any]) -> Sandbox:
    """The sandbox of a call; CommandError says what is wrong with it."""
    project = Project.objects.filter(slug=options["project"]).first()
    if project is None:
        known = ", ".join(Project.objects.values_list("slug", flat=True)) or "none yet"
        raise CommandError(f"There is no project {options['project']!r}. Known: {known}.", returncode=2)
    template = Template.objects.filter(tool=options["tool"], active=True).first()
    if template is None:
        known = ", ".join(sorted(Template.objects.filter(active=True).values_list("tool", flat=True).distinct()))
        raise CommandError(f"There is no tool {options['tool']!r}. Known: {known}.", returncode=2)
    try:
        return fleet.launch(project, None, template=template, prompt=prompt, **fields(project, template, options))
    except ValidationError as error:
        raise CommandError(
            " ".join(f"{name}: {' '.join(texts)}" for name, texts in error.message_dict.items()), returncode=2
        ) from error


def fields(project: Project, template: Template, options: dict[str, Any]) -> dict[str, Any]:
    """A sandbox's fields from the options, the template's and the project's where they are silent."""
    own = options["repo"] is None
    chosen = {
        "cpu": options["cpu"] or template.cpu,
        "memory_mb": options["memory"] or template.memory_mb,
        "repository_url": project.repository_url if own else options["repo"],
        "branch": options["branch"] or (project.default_branch if own else ""),
        "setup_script": project.setup_script,
        "labels": {"source": "command"},
    }
    return chosen | ({"timeout_ms": options["timeout"]} if options["timeout"] else {})


def run(sandbox: Sandbox, options: dict[str, Any], command: BaseCommand) -> dict[str, Any]:
    """Print until the turn is over, end the sandbox, and return its record; Ctrl-C ends it too."""
    watch, turn = watching.Watch(sandbox), sandbox.turns.get()
    show = show_json if options["json"] else show_text
    try:
        for event in watch.events(turn):
            show(event, command)
    except KeyboardInterrupt:
        fleet.stop(sandbox, None)
        raise
    if not options["keep"]:
        sandbox.refresh_from_db()
        fleet.stop(sandbox, None, Reason.FINISHED)
        for event in watch.until_final():
            show(event, command)
    record = watching.record(sandbox, turn)
    closing(record, options, command)
    return record


def show_json(event: dict[str, Any], command: BaseCommand) -> None:
    """One event a line."""
    print(watching.as_json(event), flush=True)  # noqa: T201


def show_text(event: dict[str, Any], command: BaseCommand) -> None:
    """The turn's output as it is on stdout, all else as notes on stderr."""
    if event["event"] == "output":
        place = sys.stdout if event["kind"] == "turn" else sys.stderr
        place.buffer.write(event["data"])
        place.buffer.flush()
    elif event["status"] not in {"waiting", "queued"}:
        detail = f": {event['detail']}" if event["detail"] else ""
        command.stderr.write(f"· {event['name']} {event['status']}{detail}")


def closing(record: dict[str, Any], options: dict[str, Any], command: BaseCommand) -> None:
    """The record, for machines on stdout, for people as one line on stderr."""
    if options["json"]:
        print(watching.as_json(record), flush=True)  # noqa: T201
        return
    seconds = f"{record['seconds']:.1f} s" if record["seconds"] is not None else "never ran"
    printed = f"{record['lines']} lines, {record['bytes']} bytes"
    command.stderr.write(f"· sandbox {record['sandbox']}: turn {record['turn']}, {seconds}, {printed}")
