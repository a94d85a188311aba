"""`manage.py scan`: a session that looks for issues, what happens live on stderr, what it found on stdout."""

import sys
import time
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from codecourier import up
from codecourier.models import Project
from issues import scan, sessions
from issues.models import Issue, IssueSession
from issues.models.settings import MOST_CARDS
from sandboxes import watching
from sandboxes.management.commands.launch import INTERRUPTED, show_json

# From the end of its machine until its cards are there.
SETTLE_SECONDS = 120


class Command(BaseCommand):
    """Exit status 0 for a session that is done, 1 for one that failed, 2 for a bad call, 130 after Ctrl-C."""

    help = "Looks for issues in a project's repository and prints the cards that came of it."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """What is left open comes from the project's settings."""
        parser.add_argument("--project", required=True, metavar="SLUG")
        parser.add_argument("--prompt", default="", help="What to look for; - reads it from stdin.")
        parser.add_argument("--path", action="append", metavar="PATH", help="Look only there; may be repeated.")
        parser.add_argument("--most", type=int, metavar="N", help="Cards at most.")
        parser.add_argument("--json", action="store_true", help="One event a line, the cards and the record last.")
        parser.epilog = "Ctrl-C stops the session."

    def handle(self, *args: Any, **options: Any) -> None:
        """Start, watch, and say what it found."""
        try:
            with up.stack(say=self.note):
                session = start(options)
                watch(session, options, self)
                settled(session)
        except up.UpError as error:
            raise CommandError(str(error), returncode=2) from error
        closing(session, options, self)
        if session.status != IssueSession.Status.DONE:
            sys.exit(1)

    def note(self, line: str) -> None:
        """Beside the output, never in it."""
        self.stderr.write(line)


def start(options: dict[str, Any]) -> IssueSession:
    """The session of a call; CommandError says what is wrong with it."""
    project = Project.objects.filter(slug=options["project"]).first()
    if project is None:
        known = ", ".join(Project.objects.values_list("slug", flat=True)) or "none yet"
        raise CommandError(f"There is no project {options['project']!r}. Known: {known}.", returncode=2)
    prompt = sys.stdin.read() if options["prompt"] == "-" else options["prompt"]
    if options["most"] is not None and not 1 <= options["most"] <= MOST_CARDS:
        raise CommandError(f"--most is how many cards there may be: 1 to {MOST_CARDS}.", returncode=2)
    try:
        return scan.launch(project, None, prompt=prompt, scope=options["path"], most=options["most"])
    except ValidationError as error:
        raise CommandError(" ".join(error.messages), returncode=2) from error


def watch(session: IssueSession, options: dict[str, Any], command: Command) -> None:
    """Show what happens until its machine is gone; Ctrl-C ends it."""
    assert session.sandbox  # noqa: S101 - just made
    seen = watching.Watch(session.sandbox)
    try:
        for event in seen.until_final():
            if options["json"]:
                show_json(event, command)
            elif event.get("status") not in {None, "waiting", "queued"}:
                detail = f": {event['detail']}" if event["detail"] else ""
                command.stderr.write(f"· {event['name']} {event['status']}{detail}")
    except KeyboardInterrupt:
        sessions.stop(session, None)
        sys.exit(INTERRUPTED)


def settled(session: IssueSession) -> None:
    """Wait until its answer is in the rows; the portal goes on with it if that takes too long."""
    end = time.monotonic() + SETTLE_SECONDS
    session.refresh_from_db()
    while not session.final and time.monotonic() < end:
        time.sleep(0.2)
        session.refresh_from_db()


def closing(session: IssueSession, options: dict[str, Any], command: Command) -> None:
    """The cards on stdout, one a line, and how it went."""
    for issue in Issue.objects.filter(session=session).defer("search", "words").order_by("priority", "pk"):
        found = described(issue)
        twin = f" (possible duplicate of #{issue.duplicate_of_id})" if issue.duplicate_of_id else ""
        line = watching.as_json(found) if options["json"] else f"#{issue.pk} {found['priority']}: {issue.title}{twin}"
        print(line, flush=True)  # noqa: T201
    if options["json"]:
        print(watching.as_json(record(session)), flush=True)  # noqa: T201
        return
    done = session.status == IssueSession.Status.DONE
    command.stderr.write(f"· {sessions.outcome(session) if done else f'{session} {session.status}: {session.detail}'}")


def described(issue: Issue) -> dict[str, Any]:
    """One card, for machines."""
    return {
        "event": "issue", "issue": issue.pk, "title": issue.title, "priority": issue.get_priority_display().lower(),
        "files": issue.files, "labels": issue.labels, "duplicate_of": issue.duplicate_of_id,
        "similarity": issue.similarity,
    }  # fmt: skip


def record(session: IssueSession) -> dict[str, Any]:
    """The closing record."""
    return {
        "event": "record", "session": session.pk, "sandbox": session.sandbox_id, "status": session.status,
        "reason": session.reason, "detail": session.detail, "added": session.added, "duplicates": session.duplicates,
        "left_out": session.left_out, "questions": session.questions.count(), "seconds": session.took.total_seconds(),
    }  # fmt: skip
