"""What the board and the list can be narrowed to, all of it in the URL."""

from typing import Any

import django_filters
from django.db.models import QuerySet

from .models import Issue, Priority

STATUSES = [("open", "Open"), *Issue.Status.choices, ("all", "Any status")]
PRIORITY_CHOICES = [(label.lower(), label) for _, label in Priority.choices]


class IssueFilter(django_filters.FilterSet):
    """Words, status (open unless asked otherwise), priority, session, label, whose."""

    q = django_filters.CharFilter(method="search", label="Search")
    status = django_filters.ChoiceFilter(choices=STATUSES, method="by_status", empty_label=None)
    priority = django_filters.ChoiceFilter(choices=PRIORITY_CHOICES, method="by_priority", empty_label="Any priority")
    session = django_filters.NumberFilter(method="by_session")
    label = django_filters.CharFilter(method="by_label")
    mine = django_filters.BooleanFilter(method="by_me")

    class Meta:
        model = Issue
        fields: list[str] = []

    def search(self, rows: QuerySet[Issue], name: str, value: str) -> QuerySet[Issue]:
        """By words or number."""
        return rows.matching(value)  # type: ignore[attr-defined,no-any-return]

    def by_status(self, rows: QuerySet[Issue], name: str, value: str) -> QuerySet[Issue]:
        """One status, or those that are still to be done."""
        if value == "all":
            return rows
        return rows.filter(status__in=Issue.OPEN if value == "open" else [value])

    def by_priority(self, rows: QuerySet[Issue], name: str, value: str) -> QuerySet[Issue]:
        """One of them, by its name."""
        return rows.filter(priority=[key for key, _ in PRIORITY_CHOICES].index(value))

    def by_session(self, rows: QuerySet[Issue], name: str, value: Any) -> QuerySet[Issue]:
        """What one session found."""
        return rows.filter(session=int(value))

    def by_label(self, rows: QuerySet[Issue], name: str, value: str) -> QuerySet[Issue]:
        """With this label."""
        return rows.filter(labels__contains=[value])

    def by_me(self, rows: QuerySet[Issue], name: str, value: bool | None) -> QuerySet[Issue]:
        """Only those that the asking person made."""
        return rows.filter(created_by=self.request) if value else rows
