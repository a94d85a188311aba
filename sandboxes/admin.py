"""Machines in the Django admin: status is read only, actions go through the same verbs as the portal."""

from typing import Any, cast

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from codecourier.admin import Audited
from codecourier.audit import note
from codecourier.models import User

from . import fleet
from .models import (
    Checkpoint,
    Job,
    Orphan,
    Phase,
    PublishingSettings,
    PullRequest,
    Sandbox,
    SessionConfig,
    Template,
    Turn,
)  # fmt: skip
from .publishing import pulls
from .reasons import Reason


class ReadOnlyInline(admin.TabularInline[Any, Any]):
    """Rows that only the lifecycle writes."""

    extra = 0
    can_delete = False
    show_change_link = False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """All of them, also those that no form could have."""
        return [str(name) for name in self.fields or []]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Made by the lifecycle."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Moved by the lifecycle."""
        return False


class PhaseInline(ReadOnlyInline):
    """The boot."""

    model = Phase
    fields = ["name", "status", "reason", "detail", "started_at", "ended_at", "deadline_at"]


class TurnInline(ReadOnlyInline):
    """The messages."""

    model = Turn
    fields = ["id", "status", "reason", "detail", "prompt", "started_at", "ended_at"]


class JobInline(ReadOnlyInline):
    """The commands."""

    model = Job
    fields = ["id", "kind", "status", "exit_code", "exit_reason", "lines", "bytes", "lease_owner", "lease_until"]


@admin.register(Template)
class TemplateAdmin(Audited):
    """What machines are made of."""

    list_display = ["name", "tool", "image", "cpu", "memory_mb", "needs_mb", "active"]
    prepopulated_fields = {"slug": ["name"]}


@admin.register(SessionConfig)
class SessionConfigAdmin(Audited):
    """What each project's sandboxes start from."""

    list_display = ["project", "kind", "template", "persona", "model", "effort"]
    list_filter = ["kind", "project"]
    autocomplete_fields = ["project", "persona", "context"]
    list_select_related = ["project", "template", "persona"]


@admin.register(Sandbox)
class SandboxAdmin(admin.ModelAdmin[Any]):
    """Every machine of the deployment."""

    list_display = ["id", "title", "project", "status", "wanted", "reason", "kind", "created_by", "created_at"]
    list_filter = ["status", "kind", "provider", "project"]
    search_fields = ["title", "provider_id", "id"]
    list_select_related = ["project", "created_by"]
    inlines = [PhaseInline, TurnInline, JobInline]
    actions = ["stop", "force_finish"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """A sandbox is changed by its verbs, not by hand."""
        return [field.name for field in Sandbox._meta.fields]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Made in the portal, with its boot."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Emptied from the trash only: a deleted row could not remove its machine."""
        return False

    @admin.action(description="Stop, work saved first")
    def stop(self, request: HttpRequest, queryset: QuerySet[Sandbox]) -> None:
        """As the portal's Stop."""
        for sandbox in queryset.exclude(status__in=Sandbox.FINAL):
            fleet.stop(sandbox, cast(User, request.user))
            note(request.user, "sandbox.stopped", sandbox)
        self.message_user(request, "Asked to stop.", messages.SUCCESS)

    @admin.action(description="Force finish: end the row now, whatever the provider says")
    def force_finish(self, request: HttpRequest, queryset: QuerySet[Sandbox]) -> None:
        """The row ends at once; its machine is removed afterwards."""
        for sandbox in queryset.exclude(status__in=Sandbox.FINAL):
            fleet.finish(sandbox, Sandbox.Status.ERROR, Reason.USER, "An administrator ended it by force.")
            note(request.user, "sandbox.force_finished", sandbox)
        self.message_user(request, "Ended.", messages.WARNING)


class RecordAdmin(admin.ModelAdmin[Any]):
    """What only the lifecycle writes: to be read, and kept."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Made by the lifecycle."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Moved by the lifecycle."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Goes with its sandbox."""
        return False


@admin.register(Checkpoint)
class CheckpointAdmin(RecordAdmin):
    """The work that was saved."""

    list_display = ["id", "sandbox", "cause", "status", "detail", "commit", "files", "bytes", "created_at"]
    list_filter = ["status", "cause", "sandbox__project"]
    search_fields = ["commit", "sandbox__id"]
    list_select_related = ["sandbox"]


@admin.register(PullRequest)
class PullRequestAdmin(RecordAdmin):
    """Branches at remotes and their pull requests."""

    list_display = ["id", "project", "sandbox", "branch", "number", "status", "detail", "not_before", "read_at"]
    list_filter = ["status", "project"]
    search_fields = ["branch", "title", "sandbox__id"]
    list_select_related = ["project", "sandbox"]
    actions = ["look"]

    @admin.action(description="Ask the remote now")
    def look(self, request: HttpRequest, queryset: QuerySet[PullRequest]) -> None:
        """Without waiting for its time."""
        for row in queryset:
            PullRequest.objects.filter(pk=row.pk).update(not_before=None)
            pulls.poke(row)
        self.message_user(request, "Asked.", messages.SUCCESS)


@admin.register(PublishingSettings)
class PublishingSettingsAdmin(Audited):
    """How each project's work leaves."""

    list_display = ["project", "auto", "draft", "branch_pattern", "labels"]
    autocomplete_fields = ["project"]
    list_select_related = ["project"]


@admin.register(Orphan)
class OrphanAdmin(admin.ModelAdmin[Any]):
    """The orphan ledger: what was found out of place and what was done."""

    list_display = ["found_at", "what", "provider", "provider_id", "sandbox", "seconds", "done"]
    list_filter = ["what", "provider"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Written by the sweep."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Kept as it is."""
        return False
