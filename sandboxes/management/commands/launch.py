"""`manage.py launch`: one prompt in a sandbox of its own, its output live on stdout."""

import sys
import time
from collections.abc import Callable
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from codecourier import up
from codecourier.models import Project
from sandboxes import fleet, readable, watching
from sandboxes.agents import AGENTS
from sandboxes.models import PublishingSettings, PullRequest, Sandbox, Template, Turn
from sandboxes.publishing import pulls
from sandboxes.reasons import Reason

Show = Callable[[dict[str, Any], BaseCommand], None]
# Until a pull request has to be there.
PUBLISH_SECONDS = 180
# As shells say it of a command that Ctrl-C ended.
INTERRUPTED = 130


class Command(BaseCommand):
    """Exit status 0 for a turn that succeeded, 1 for one that did not, 2 for a bad call, 130 after Ctrl-C."""

    help = "Runs a prompt in a new sandbox and prints the conversation; the sandbox ends with the turn."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """The fields of a sandbox, as far as a command line wants them."""
        parser.add_argument("prompt", help="What to do; - reads it from stdin.")
        parser.add_argument("--project", required=True, metavar="SLUG")
        parser.add_argument("--tool", default="script", help="claude, codex, opencode, pi or script.")
        parser.add_argument("--model", default="", help="As the tool calls it; default: the tool's own choice.")
        parser.add_argument("--effort", default="", help="low, medium, high or max.")
        parser.add_argument("--repo", default=None, metavar="URL", help="Default: the project's repository.")
        parser.add_argument("--branch", default="")
        parser.add_argument("--cpu", type=int)
        parser.add_argument("--memory", type=int, metavar="MB")
        parser.add_argument("--timeout", type=int, metavar="MS")
        parser.add_argument(
            "--pr", action="store_true", help="Push the work and open a pull request; its address is printed."
        )
        parser.add_argument("--keep", action="store_true", help="Leave the sandbox running.")
        parser.add_argument("--json", action="store_true", help="One event a line, the record last.")
        parser.epilog = "Ctrl-C stops the sandbox; a second one leaves without waiting for its end."

    def handle(self, *args: Any, **options: Any) -> None:
        """Launch, print, end, and say how it went by the exit status."""
        prompt = sys.stdin.read() if options["prompt"] == "-" else options["prompt"]
        if not prompt.strip():
            raise CommandError("The prompt is empty. Write what to do, or - to read it from stdin.", returncode=2)
        try:
            with up.stack(say=self.note):
                sandbox = start(prompt, options)
                record = run(sandbox, options, self)
                published = not options["pr"] or publish(sandbox, self)
        except up.UpError as error:
            raise CommandError(str(error), returncode=2) from error
        if record["turn"] != Turn.Status.SUCCEEDED or not published:
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
    check_agent(options)
    chosen = fields(project, template, options)
    if options["pr"] and pulls.at_github(project, chosen["repository_url"]) is None:
        text = "A pull request needs a repository at GitHub, and a GitHub key of the project that may write to it."
        raise CommandError(text, returncode=2)
    try:
        return fleet.launch(project, None, template=template, prompt=prompt, **chosen)
    except ValidationError as error:
        raise CommandError(
            " ".join(f"{name}: {' '.join(texts)}" for name, texts in error.message_dict.items()), returncode=2
        ) from error


def check_agent(options: dict[str, Any]) -> None:
    """CommandError for a model or an effort that the tool has no use for."""
    agent, tool = AGENTS[options["tool"]], options["tool"]
    if options["model"] and not agent.structured:
        raise CommandError(f"The {tool} tool uses no model. Leave --model away.", returncode=2)
    if options["effort"] and options["effort"] not in agent.efforts:
        known = ", ".join(agent.efforts) or "none: leave it away"
        raise CommandError(f"{tool} knows no effort {options['effort']!r}. Known: {known}.", returncode=2)


def fields(project: Project, template: Template, options: dict[str, Any]) -> dict[str, Any]:
    """A sandbox's fields from the options, the template's and the project's where they are silent."""
    own = options["repo"] is None
    chosen = {
        "cpu": options["cpu"] or template.cpu,
        "memory_mb": options["memory"] or template.memory_mb,
        "repository_url": project.repository_url if own else options["repo"],
        "branch": options["branch"] or (project.default_branch if own else ""),
        "setup_script": project.setup_script,
        "designer_model": options["model"].strip(),
        "effort": options["effort"],
        "labels": {"source": "command"},
        "publish": PublishingSettings.Auto.REQUEST if options["pr"] else "",
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
        command.stderr.write("· Stopping the sandbox; Ctrl-C again leaves without waiting for its end.")
        end(watch, Reason.USER, show, command)
        closing(watching.record(sandbox, turn), options, command)
        sys.exit(INTERRUPTED)
    if not options["keep"]:
        end(watch, Reason.FINISHED, show, command)
    record = watching.record(sandbox, turn)
    closing(record, options, command)
    return record


def publish(sandbox: Sandbox, command: BaseCommand) -> bool:
    """Wait for the pull request and print its address; False, with the reason said, when there is none."""
    end = time.monotonic() + PUBLISH_SECONDS
    while time.monotonic() < end:
        row = PullRequest.objects.filter(sandbox=sandbox).first()
        if row and row.status not in {PullRequest.Status.PUSHING, PullRequest.Status.PUSHED}:
            break
        if row is None and not unfinished(sandbox):
            command.stderr.write("· no pull request: nothing was changed that could be pushed")
            return False
        time.sleep(0.3)
    else:
        command.stderr.write("· The pull request is not there yet; the portal goes on with it.")
        return False
    command.stderr.write(
        f"· pull request {PullRequest.Status(row.status).label.lower()}{f': {row.detail}' if row.detail else ''}"
    )
    if row.url:
        command.stdout.write(row.url)
    return bool(row.url) and not row.detail


def unfinished(sandbox: Sandbox) -> bool:
    """Work of it is still on its way out of the machine, or on to the remote."""
    stored = sandbox.checkpoints.stored().exists() and sandbox.turns.filter(status=Turn.Status.SUCCEEDED).exists()
    return stored or sandbox.checkpoints.open().exists()


def end(watch: watching.Watch, reason: str, show: Show, command: BaseCommand) -> None:
    """Stop the sandbox and print what still comes, until its machine is gone."""
    watch.sandbox.refresh_from_db()
    fleet.stop(watch.sandbox, None, reason)
    for event in watch.until_final():
        show(event, command)


def show_json(event: dict[str, Any], command: BaseCommand) -> None:
    """One event a line."""
    print(watching.as_json(event), flush=True)  # noqa: T201


def show_text(event: dict[str, Any], command: BaseCommand) -> None:
    """What the turn says, or prints on its stdout, on stdout; all else on stderr."""
    if event["event"] == "output":
        said = event["kind"] == "turn" and event["stream"] in {"stdout", "pty"}
        place = sys.stdout if said else sys.stderr
        place.buffer.write(event["data"])
        place.buffer.flush()
    elif "status" not in event:
        for line in readable.lines(event["event"], event["data"]):
            print(line, flush=True)  # noqa: T201
    elif event["status"] not in {"waiting", "queued"}:
        detail = f": {event['detail']}" if event["detail"] else ""
        command.stderr.write(f"· {event['name']} {event['status']}{detail}")


def closing(record: dict[str, Any], options: dict[str, Any], command: BaseCommand) -> None:
    """The record, for machines on stdout, for people as a few words on stderr."""
    if options["json"]:
        print(watching.as_json(record), flush=True)  # noqa: T201
        return
    seconds = f"{record['seconds']:.1f} s" if record["seconds"] is not None else "never ran"
    printed = f"{record['lines']} lines, {record['bytes']} bytes"
    used = printed if record["tokens"] == {} else readable.tokens(record["tokens"])
    words = ", ".join(filter(None, [f"turn {record['turn']}", seconds, used, readable.price(record)]))
    command.stderr.write(f"· sandbox {record['sandbox']}: {words}")
