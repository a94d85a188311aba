"""Personas, assets with their versions, and the models that tools are offered with."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from .models import Asset, AssetVersion, ModelChoice, Persona


@admin.register(Persona)
class PersonaAdmin(admin.ModelAdmin[Persona]):
    """All of every project."""

    list_display = ["name", "project", "role", "tool", "model", "effort", "archived_at"]
    list_filter = ["role", "tool", ("archived_at", admin.EmptyFieldListFilter), "project"]
    search_fields = ["name", "instructions", "project__name"]
    autocomplete_fields = ["project", "context", "assets"]
    list_select_related = ["project"]


class VersionInline(admin.TabularInline[AssetVersion, Asset]):
    """What was published: to be read only."""

    model = AssetVersion
    fields = ["number", "note", "size", "digest", "published_at", "published_by"]
    readonly_fields = ["number", "note", "size", "digest", "published_at", "published_by"]
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Publishing is done where the draft is."""
        return False


@admin.register(Asset)
class AssetAdmin(admin.ModelAdmin[Asset]):
    """Drafts are edited in the portal."""

    list_display = ["name", "kind", "project", "active", "draft_at", "archived_at"]
    list_filter = ["kind", ("archived_at", admin.EmptyFieldListFilter), "project"]
    search_fields = ["name", "description", "project__name"]
    autocomplete_fields = ["project"]
    exclude = ["draft", "draft_number"]
    readonly_fields = ["active", "draft_at", "draft_by"]
    list_select_related = ["project", "active__asset"]
    inlines = [VersionInline]


@admin.register(ModelChoice)
class ModelChoiceAdmin(admin.ModelAdmin[ModelChoice]):
    """What people are offered beside free text."""

    list_display = ["name", "label", "tool", "position", "active"]
    list_editable = ["position", "active"]
    list_filter = ["tool", "active"]
    search_fields = ["name", "label"]
