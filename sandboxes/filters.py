"""What the list can be narrowed to, all of it in the URL."""

from typing import Any

import django_filters
from django.db.models import Q, QuerySet

from .models import Kind, Sandbox

STATUSES = [("alive", "Alive"), ("over", "Over"), *Sandbox.Status.choices]
KINDS = [("all", "All kinds"), *Kind.choices]


class SandboxFilter(django_filters.FilterSet):
    """Status, kind (standalone unless asked otherwise), whose, text, trash."""

    q = django_filters.CharFilter(method="search", label="Search")
    status = django_filters.ChoiceFilter(choices=STATUSES, method="by_status", empty_label="Any status")
    kind = django_filters.ChoiceFilter(choices=KINDS, method="by_kind", empty_label=None)
    persona = django_filters.NumberFilter(method="by_persona")
    mine = django_filters.BooleanFilter(method="by_me")
    trash = django_filters.BooleanFilter(method="unfiltered")

    class Meta:
        model = Sandbox
        fields: list[str] = []

    def search(self, rows: QuerySet[Sandbox], name: str, value: str) -> QuerySet[Sandbox]:
        """By a part of the title, the number, or the provider's id."""
        text = value.strip()
        found = Q(title__icontains=text) | Q(provider_id=text)
        number = text.lstrip("#")
        if number.isdecimal() and len(number) < 18:
            found |= Q(pk=int(number))
        return rows.filter(found)

    def by_status(self, rows: QuerySet[Sandbox], name: str, value: str) -> QuerySet[Sandbox]:
        """One status, or all that are alive or over."""
        if value == "alive":
            return rows.exclude(status__in=Sandbox.FINAL)
        return rows.filter(status__in=Sandbox.FINAL if value == "over" else [value])

    def by_kind(self, rows: QuerySet[Sandbox], name: str, value: str) -> QuerySet[Sandbox]:
        """One kind or all."""
        return rows if value == "all" else rows.filter(kind=value)

    def by_persona(self, rows: QuerySet[Sandbox], name: str, value: Any) -> QuerySet[Sandbox]:
        """Only those that worked as one persona, by its number."""
        return rows.filter(labels__contains={"persona_id": int(value)})

    def by_me(self, rows: QuerySet[Sandbox], name: str, value: bool | None) -> QuerySet[Sandbox]:
        """Only those that the asking person made."""
        return rows.filter(created_by=self.request) if value else rows

    def unfiltered(self, rows: QuerySet[Sandbox], name: str, value: Any) -> QuerySet[Sandbox]:
        """The listing itself tells the trash apart, since counts need it, too."""
        return rows
