"""What the page of one card shows, to its view and to its socket."""

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import QueryDict
from django.template.loader import render_to_string

from sandboxes.price import Cost
from workflows import listing as run_listing
from workflows.models import Run

from . import answering, listing
from .forms import RunForm
from .models import Issue, Priority

RECENT_RUNS = 20
PARTS = ("heading", "duplicates", "runs", "facts", "questions", "history")


@dataclass(frozen=True)
class Entry:
    """One line of a card's history."""

    at: datetime
    who: str
    what: str
    body: str = ""


def context(issue: Issue, params: QueryDict | None = None, form: RunForm | None = None) -> dict[str, Any]:
    """Everything."""
    project = issue.project
    found = list(Run.objects.filter(issue_runs__issue=issue).select_related("workflow", "created_by").order_by("-pk"))
    runs = found[:RECENT_RUNS]
    run_listing.dress(project, found)
    initial = {"prompt": issue.prompt, "request_key": secrets.token_hex(16)}
    repeats = Issue.objects.defer("search", "words").filter(duplicate_of=issue, status=Issue.Status.NEW)
    return {
        "project": project,
        "issue": issue,
        "form": form or RunForm(project, initial=initial),
        "runs": runs,
        "cost": sum((run.__dict__["costs"].total for run in found), Cost()),
        "all_runs": len(found),
        "duplicates": list(repeats.select_related("session").order_by("-similarity")[:20]),
        "questions": list(issue.questions.order_by("-pk")[:50]),
        "approved": len(answering.approved([issue])),
        "history": history(issue),
        "priorities": [(label.lower(), label) for _, label in Priority.choices],
        "chains": list({link.chain for link in issue.links.select_related("chain")}),
        "tabs": listing.tabs(project),
        "can_run": Issue.Status.RUNNING in Issue.EDGES[Issue.Status(issue.status)] and not issue.duplicate_of_id,
    }


def history(issue: Issue) -> list[Entry]:
    """Moves and notes, the newest first; what a person asked for is told by its note alone."""
    moves = [move for move in issue.history if move.reason != "user"]
    entries = [Entry(move.at, "", *told(issue, move)) for move in moves]
    entries += [
        Entry(note.at, str(note.author or "CodeCourier"), note.what, note.body)
        for note in issue.notes.select_related("author")
    ]
    return sorted(entries, key=lambda entry: entry.at, reverse=True)


def told(issue: Issue, move: Any) -> tuple[str, str]:
    """A move in words, and what was said of it."""
    if not move.old:
        return (f"Found by session {issue.session_id}" if issue.session_id else f"Written by {issue.origin}"), ""
    return f"{Issue.Status(move.old).label} → {Issue.Status(move.new).label}", move.detail


def fragments(found: dict[str, Any]) -> dict[str, str]:
    """The live parts, by name."""
    shown = {**found, "live": True}
    return {name: render_to_string(f"issues/issue_detail.html#{name}", shown) for name in PARTS}


def messages_of(refused: str) -> str:
    """What was refused, for a page that stays open."""
    return render_to_string("_messages.html", {"refused": refused, "live": True})
