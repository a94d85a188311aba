"""What the list of runs can be narrowed to, all of it in the URL."""

from typing import Any

import django_filters
from django.db.models import Q, QuerySet

from .models import Run, Source


class RunFilter(django_filters.FilterSet):
    """Workflow, source, whose, text; the status is told apart by the listing, which counts each."""

    q = django_filters.CharFilter(method="search")
    workflow = django_filters.NumberFilter(field_name="workflow_id")
    source = django_filters.ChoiceFilter(choices=Source.choices, empty_label="Any source")
    who = django_filters.NumberFilter(field_name="created_by_id")

    class Meta:
        model = Run
        fields: list[str] = []

    def search(self, rows: QuerySet[Run], name: str, value: Any) -> QuerySet[Run]:
        """By a part of the title or the prompt, the branch, or the number."""
        text = str(value).strip()
        found = Q(title__icontains=text) | Q(prompt__icontains=text) | Q(work_branch=text)
        number = text.lstrip("#")
        if number.isdecimal() and len(number) < 18:
            found |= Q(pk=int(number))
        return rows.filter(found)
