"""Whether a card says what another one says: the same file, and title and text alike (see `codecourier.likeness`)."""

from typing import Any

from django.contrib.postgres.search import SearchQuery
from django.db.models import F, QuerySet, Value
from django.db.models.functions import Left

from codecourier.likeness import Likeness, Trigrams

from .models import Issue

# A title says more of what a card is about than its text.
TITLE, TEXT = 0.6, 0.4
# So much of a text is compared.
CHARS = 2_000
# For a card without a file there is no narrower place to look.
MOST_CANDIDATES = 200
# What was completed and is found again is back.
KNOWN = (*Issue.OPEN, Issue.Status.CLOSED)


def alike(column: str, text: str) -> Any:
    """How much of both texts' trigrams is in both, 0 to 1."""
    return Likeness(Trigrams(Left(column, CHARS)), Trigrams(Value(text[:CHARS])))


def known(issue: Issue) -> QuerySet[Issue]:
    """Cards of the project that could be the same: by file, or by a word of the title where it has none."""
    rows = Issue.objects.cards().filter(project=issue.project_id, status__in=KNOWN).exclude(pk=issue.pk)
    if issue.files:
        return rows.filter(files__overlap=issue.files)
    words = " or ".join(word for word in issue.title.split() if word.isalnum()) or issue.title
    near = rows.filter(files=[], search=SearchQuery(words, config="english", search_type="websearch"))
    return rows.filter(pk__in=near.order_by("-pk").values("pk")[:MOST_CANDIDATES])


def find(issue: Issue, threshold: float) -> tuple[Issue, float] | None:
    """The card that it most likely repeats, and how much of it (0 to 1, at least `threshold`)."""
    score = Value(TITLE) * alike("title", issue.title) + Value(TEXT) * alike("description", issue.description)
    rows = known(issue).annotate(score=score).filter(score__gte=threshold)
    best = rows.order_by(F("score").desc(), "pk").first()
    return (best, best.score) if best else None
