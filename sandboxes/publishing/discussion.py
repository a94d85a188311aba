"""What people wrote about a pull request, as the sandbox's page shows it: Markdown of strangers as safe HTML."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.dateparse import parse_datetime
from django.utils.safestring import SafeString

from codecourier import markdown
from sandboxes.models import PullRequest

# The newest; all of them are at GitHub.
MOST = 50


@dataclass(frozen=True)
class Word:
    """One review or comment. `place` is the file and line it is about, empty for the whole."""

    who: str
    at: datetime | None
    said: str
    place: str
    url: str
    html: SafeString | None


def discussion(row: PullRequest) -> list[Word]:
    """Oldest first; a review that says nothing is a line above already."""
    words = [_word(one, said=one["said"]) for one in row.reviews if one["body"].strip()]
    words += [_word(one) for one in row.comments]
    return sorted(words, key=lambda word: word.at.timestamp() if word.at else 0.0)[-MOST:]


def _word(one: dict[str, Any], said: str = "") -> Word:
    place = f"{one['path']}:{one['line']}".rstrip(":") if one.get("path") else ""
    body = one["body"].strip()
    return Word(
        one["who"], moment(one.get("at") or ""), said, place, one.get("url") or "",
        markdown.rendered(body) if body else None,
    )  # fmt: skip


def moment(text: str) -> datetime | None:
    """A time as GitHub writes it."""
    try:
        at = parse_datetime(text)
    except ValueError:
        return None
    return at if at and at.tzinfo else None
