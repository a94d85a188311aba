"""Lessons, versions, readings and each project's choices."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from .models import Evidence, Extraction, LearningSettings, Lesson, Version


class EvidenceInline(admin.TabularInline[Evidence, Lesson]):
    """To be read only."""

    model = Evidence
    fields = ["kind", "sandbox", "turn", "seq", "excerpt"]
    readonly_fields = ["kind", "sandbox", "turn", "seq", "excerpt"]
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Sessions name it."""
        return False


@admin.register(Lesson)
class LessonAdmin(admin.ModelAdmin[Lesson]):
    """All of every project; what is decided, is decided in the portal."""

    list_display = ["__str__", "project", "status", "severity", "category", "created_at", "decided_by"]
    list_filter = ["status", "severity", "category", "project"]
    search_fields = ["description", "trigger", "behaviour", "project__name"]
    autocomplete_fields = ["project"]
    raw_id_fields = ["extraction", "similar_to", "merged_into", "created_by", "edited_by", "decided_by"]
    readonly_fields = ["status", "similarity", "merged_into", "decided_by", "decided_at", "edited_by", "edited_at"]
    exclude = ["reason", "detail", "status_at", "deadline_at"]
    list_select_related = ["project", "decided_by"]
    inlines = [EvidenceInline]


class Kept(admin.ModelAdmin[Any]):
    """What is only looked at here."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """It is made in the portal."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Versions never change, and readings move by themselves."""
        return False


@admin.register(Version)
class VersionAdmin(Kept):
    """What was compiled."""

    list_display = ["__str__", "project", "made_at", "made_by", "note", "digest"]
    list_filter = ["project"]
    search_fields = ["note", "digest", "project__name"]
    list_select_related = ["project", "made_by"]
    exclude = ["lessons"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Machines had it."""
        return False


@admin.register(Extraction)
class ExtractionAdmin(Kept):
    """What was read."""

    list_display = ["__str__", "project", "status", "found", "tokens", "round", "created_at", "asked_by"]
    list_filter = ["status", "project"]
    search_fields = ["key", "project__name"]
    list_select_related = ["project", "asked_by"]
    exclude = ["sandboxes"]


@admin.register(LearningSettings)
class LearningSettingsAdmin(admin.ModelAdmin[LearningSettings]):
    """A project's choices."""

    list_display = ["project", "when", "tokens", "threshold", "most_chars", "active"]
    list_filter = ["when"]
    search_fields = ["project__name"]
    autocomplete_fields = ["project"]
    readonly_fields = ["active", "activated_at", "activated_by"]
    list_select_related = ["project", "active"]
