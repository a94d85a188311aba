"""Rates and budgets: what administrators change when a price list changes, and how much may be spent."""

import csv
from collections.abc import Iterator
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import URLPattern, path
from django.utils import timezone

from codecourier.admin import Audited
from codecourier.audit import note

from . import pricelist
from .models import Budget, Entry, Rate


class Echo:
    """A file that gives back what is written to it."""

    def write(self, text: str) -> str:
        """As the writer wants it."""
        return text


def csv_lines(rows: Iterator[list[str]]) -> Iterator[str]:
    """Rows as lines of a CSV file, one at a time."""
    writer = csv.writer(Echo())
    return (writer.writerow(row) for row in rows)


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
    change_list_template = "admin/usage/rate/change_list.html"

    def get_urls(self) -> list[URLPattern]:
        """The price list as a file, both ways."""
        view = self.admin_site.admin_view
        return [
            path("export/", view(self.export), name="usage_rate_export"),
            path("import/", view(self.read), name="usage_rate_import"),
            *super().get_urls(),
        ]

    def export(self, request: HttpRequest) -> StreamingHttpResponse:
        """All rates as CSV."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        rows = csv_lines(pricelist.lines(Rate.objects.iterator(chunk_size=500)))
        headers = {"Content-Disposition": 'attachment; filename="rates.csv"'}
        return StreamingHttpResponse(rows, content_type="text/csv; charset=utf-8", headers=headers)

    def read(self, request: HttpRequest) -> HttpResponse:
        """Take over a file: all of its lines or none."""
        if not (self.has_add_permission(request) and self.has_change_permission(request)):
            raise PermissionDenied
        errors = self.take(request) if request.method == "POST" else []
        if request.method == "POST" and not errors:
            return redirect("admin:usage_rate_changelist")
        context = {**self.admin_site.each_context(request), "title": "Import rates", "errors": errors,
                   "columns": pricelist.COLUMNS, "opts": Rate._meta}  # fmt: skip
        return render(request, "admin/usage/rate/import.html", context, status=422 if errors else 200)

    def take(self, request: HttpRequest) -> list[str]:
        """What keeps the file from being taken over."""
        file = request.FILES.get("file")
        if file is None or file.size is None or file.size > pricelist.MOST_BYTES:
            return [f"Choose a CSV file of at most {pricelist.MOST_BYTES // 2**20} MB."]
        result = pricelist.read(file.read())
        if not result.errors:
            note(request.user, "rate.imported", Rate(), added=result.added, changed=result.changed, ended=result.ended)
            said = (
                f"{result.added} rates added, {result.changed} changed, {result.ended} ended, {result.same} as before."
            )
            messages.success(request, f"{said} What was used before keeps its price until you run manage.py reprice.")
        return result.errors


@admin.register(Budget)
class BudgetAdmin(Audited):
    """Raised here, work goes on by itself within seconds; on the usage pages at once."""

    list_display = ["scope", "project", "person", "amount", "spent", "level", "set_by", "set_at"]
    list_filter = ["scope"]
    autocomplete_fields = ["project", "person"]

    def save_model(self, request: HttpRequest, obj: Budget, form: Any, change: bool) -> None:
        """Remember who set it."""
        obj.set_by, obj.set_at = request.user, timezone.now()  # type: ignore[assignment]
        super().save_model(request, obj, form, change)


@admin.register(Entry)
class EntryAdmin(admin.ModelAdmin[Any]):
    """The ledger: read only, whoever reads."""

    list_display = [
        "at",
        "project_name",
        "person_name",
        "service",
        "model",
        "metric",
        "quantity",
        "cost",
        "corrects_id",
    ]
    list_filter = ["service", "metric", "kind"]
    show_full_result_count = False
    list_per_page = 50

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Written by what happens."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Kept as it is."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Kept for ever."""
        return False
