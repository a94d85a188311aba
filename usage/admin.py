"""Rates: what administrators change when a price list changes."""

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from codecourier.admin import Audited

from .models import Rate


class ValidityFilter(admin.SimpleListFilter):
    """Whether a rate counts now."""

    title, parameter_name = "validity", "valid"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        """The choices."""
        return [("now", "Now"), ("other", "Past or to come")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Rate]) -> QuerySet[Rate]:
        """The chosen rows."""
        at = timezone.now()
        now = Q(valid_from__lte=at) & (Q(valid_until=None) | Q(valid_until__gt=at))
        return {"now": queryset.filter(now), "other": queryset.exclude(now)}.get(self.value() or "", queryset)


@admin.register(Rate)
class RateAdmin(Audited):
    """A price that changes is a new row: end the old one when it begins, so that past costs stay what they were."""

    list_display = ["model", "service", "metric", "price", "per", "valid_from", "valid_until", "source"]
    list_display_links = ["model", "service"]
    list_filter = ["service", "metric", ValidityFilter]
    search_fields = ["model", "source"]
    date_hierarchy = "valid_from"
    save_as = True
    list_per_page = 200
