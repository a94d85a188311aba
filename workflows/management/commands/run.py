"""`manage.py run`: a workflow on one prompt, its progress live."""

import sys
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from codecourier import up
from codecourier.models import Project
from sandboxes import readable
from sandboxes.turns import NotPossible
from sandboxes.watching import as_json
from workflows import runs
from workflows.models import Run, Source, Workflow
from workflows.watching import Watch, record

# As shells say it of a command that Ctrl-C ended.
INTERRUPTED = 130


class Command(BaseCommand):
    """Exit status 0 for a run that was completed, 1 for one that was not, 2 for a bad call, 130 after Ctrl-C."""

    help = "Runs a workflow on a prompt and prints its progress, what the agents say included."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """The fields of a run, as far as a command line wants them."""
        parser.add_argument("workflow", help="Its name or its number.")
        parser.add_argument("prompt", help="What the run should achieve; - reads it from stdin.")
        parser.add_argument("--project", required=True, metavar="SLUG")
        parser.add_argument("--repo", default=None, metavar="URL", help="Default: the project's repository.")
        parser.add_argument("--branch", default="", help="Where the work starts.")
        parser.add_argument("--json", action="store_true", help="One event a line, the record last.")
        parser.epilog = "Ctrl-C cancels the run; a second one leaves without waiting for its end."

    def handle(self, *args: Any, **options: Any) -> None:
        """Launch, print, and say how it went by the exit status."""
        prompt = sys.stdin.read() if options["prompt"] == "-" else options["prompt"]
        if not prompt.strip():
            raise CommandError("The prompt is empty. Write what to do, or - to read it from stdin.", returncode=2)
        try:
            with up.stack(say=self.stderr.write):
                status = Printer(self, json=options["json"]).follow(start(prompt, options))
        except up.UpError as error:
            raise CommandError(str(error), returncode=2) from error
        if status:
            sys.exit(status)


def start(prompt: str, options: dict[str, Any]) -> Run:
    """The run of a call; CommandError says what is wrong with it."""
    project = Project.objects.filter(slug=options["project"]).first()
    if project is None:
        known = ", ".join(Project.objects.values_list("slug", flat=True)) or "none yet"
        raise CommandError(f"There is no project {options['project']!r}. Known: {known}.", returncode=2)
    workflow = find(project, options["workflow"])
    try:
        return runs.launch(
            workflow, None, prompt=prompt, repository_url=options["repo"], branch=options["branch"],
            source=Source.COMMAND,
        )  # fmt: skip
    except ValidationError as error:
        raise CommandError(" ".join(error.messages), returncode=2) from error


def find(project: Project, which: str) -> Workflow:
    """By its name, else by its number."""
    rows = Workflow.objects.kept().filter(project=project)
    number = int(which) if which.isdecimal() and len(which) < 18 else 0
    found = rows.filter(name=which).first() or rows.filter(pk=number).first()
    if found is None:
        known = ", ".join(f"{row.pk} {row.name!r}" for row in rows) or "none yet"
        raise CommandError(f"There is no workflow {which!r}. Known: {known}.", returncode=2)
    return found


@dataclass
class Printer:
    """Events as lines: for machines on stdout, for people what agents say there and all else on stderr."""

    command: BaseCommand
    json: bool = False
    # Whose words were printed last.
    speaker: str = ""

    def follow(self, run: Run) -> int:
        """Print until the run is over; the exit status. Ctrl-C cancels it."""
        watch, interrupted = Watch(run), False
        self.note(f"run {run.pk} of {run.workflow_name}, branch {run.work_branch}")
        try:
            self.tell(watch)
        except KeyboardInterrupt:
            interrupted = True
            self.note("Cancelling the run; Ctrl-C again leaves without waiting for its end.")
            self.cancel(run)
            self.tell(watch)
        found = record(run)
        self.close(found)
        if interrupted:
            return INTERRUPTED
        return 0 if found["status"] == Run.Status.COMPLETED else 1

    def cancel(self, run: Run) -> None:
        """Unless it came to its end by itself."""
        try:
            runs.cancel(run, None)
        except NotPossible as error:
            self.note(str(error))

    def tell(self, watch: Watch) -> None:
        """All that still comes."""
        for event in watch.events():
            if self.json:
                print(as_json(event), flush=True)  # noqa: T201
            else:
                self.show(event)

    def show(self, event: dict[str, Any]) -> None:
        """One event for people."""
        if event["event"] in {"run", "step"}:
            self.moved(event)
        elif event["event"] == "output":
            self.printed(event)
        elif "status" in event:
            if event["status"] in {"failed", "error", "lost"}:
                self.note(f"{event['step']}: {event['name']} {event['status']}: {event['detail']}")
        elif lines := readable.lines(event["event"], event["data"]):
            self.speaks(event["step"])
            print("\n".join(lines), flush=True)  # noqa: T201

    def moved(self, event: dict[str, Any]) -> None:
        """A step or the run stands elsewhere."""
        if event["status"] == "waiting":
            return
        what = event.get("step") or f"run {event['run']}"
        given = event.get("answer")
        answer: dict[str, Any] = given if isinstance(given, dict) else {}
        verdict = readable.one_line(str(answer.get("verdict") or answer.get("choice") or answer.get("score") or ""))
        detail = readable.one_line(event["detail"] or str(answer.get("summary") or answer.get("reason") or ""))
        words = [f"{what}: {event['status']}", verdict and f" ({verdict})", detail and f": {detail}"]
        self.note("".join(filter(None, words)))

    def printed(self, event: dict[str, Any]) -> None:
        """What a command printed: a turn's on stdout, a setup's on stderr."""
        said = event["kind"] == "turn" and event["stream"] in {"stdout", "pty"}
        self.speaks(event["step"])
        place = sys.stdout if said else sys.stderr
        place.buffer.write(event["data"])
        place.buffer.flush()

    def speaks(self, who: str) -> None:
        """Whose words come now, said when it is another's than before."""
        if who != self.speaker:
            self.note(f"--- {who}")
        self.speaker = who

    def close(self, found: dict[str, Any]) -> None:
        """The record: for machines on stdout, for people as a few words on stderr."""
        if self.json:
            print(as_json(found), flush=True)  # noqa: T201
            return
        seconds = f"{found['seconds']:.1f} s" if found["seconds"] is not None else "never ran"
        score = f"score {found['score']}" if found["score"] is not None else ""
        words = [found["status"], seconds, f"{found['tokens']:,} tokens", readable.price(found), score]
        self.note(f"run {found['run']}: {', '.join(filter(None, words))}")
        if found["pull_request"]:
            self.command.stdout.write(found["pull_request"])

    def note(self, line: str) -> None:
        """Beside what agents say, never in it."""
        if not self.json or not line.startswith("---"):
            self.command.stderr.write(f"· {line}")
