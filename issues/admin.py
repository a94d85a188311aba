"""Cards, sessions, questions, chains and settings of every project."""

from typing import cast

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from codecourier.admin import Audited
from codecourier.audit import note
from codecourier.models import User
from sandboxes.admin import ReadOnlyInline, RecordAdmin
from sandboxes.turns import NotPossible

from . import chain as chains
from . import sessions
from .models import Chain, Issue, IssueSession, IssueSettings, Link, Question


@admin.register(IssueSettings)
class IssueSettingsAdmin(Audited):
    """What each project's sessions and cards go by."""

    list_display = ["project", "most", "threshold", "workflow", "one_request"]
    autocomplete_fields = ["project"]
    list_select_related = ["project", "workflow"]


@admin.register(Issue)
class IssueAdmin(Audited):
    """What a card says; its status moves by verbs and runs."""

    list_display = ["id", "title", "project", "status", "priority", "session", "duplicate_of", "created_at"]
    list_filter = ["status", "priority", "project"]
    search_fields = ["title", "id"]
    list_select_related = ["project", "session", "duplicate_of"]
    fields = ["title", "description", "priority", "suggested_prompt", "status", "reason", "detail", "created_at"]
    readonly_fields = ["status", "reason", "detail", "created_at"]
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Written in the portal, where they get their place."""
        return False


@admin.register(IssueSession)
class IssueSessionAdmin(RecordAdmin):
    """Sessions and how they went."""

    list_display = ["id", "project", "kind", "status", "reason", "added", "duplicates", "left_out", "created_at"]
    list_filter = ["kind", "status", "project"]
    list_select_related = ["project"]
    actions = ["stop"]

    @admin.action(description="Stop")
    def stop(self, request: HttpRequest, queryset: QuerySet[IssueSession]) -> None:
        """As the portal's Stop."""
        for session in queryset.running().select_related("sandbox"):  # type: ignore[attr-defined]
            sessions.stop(session, request.user)
            note(request.user, "issue_session.stopped", session)
        self.message_user(request, "Asked to stop.", messages.SUCCESS)


@admin.register(Question)
class QuestionAdmin(RecordAdmin):
    """Questions, assumptions and what was decided."""

    list_display = ["id", "project", "kind", "status", "text", "confidence", "decided_by"]
    list_filter = ["kind", "status", "project"]
    search_fields = ["text"]
    list_select_related = ["project", "decided_by"]


class LinkInline(ReadOnlyInline):
    """The links of a chain."""

    model = Link
    fields = ["position", "issue", "status", "reason", "detail", "attempt", "run"]


@admin.register(Chain)
class ChainAdmin(RecordAdmin):
    """Chains and how far they are."""

    list_display = ["id", "title", "project", "kind", "status", "detail", "created_at"]
    list_filter = ["kind", "status", "project"]
    search_fields = ["title"]
    list_select_related = ["project"]
    inlines = [LinkInline]
    actions = ["cancel"]

    @admin.action(description="Cancel, with the run at work")
    def cancel(self, request: HttpRequest, queryset: QuerySet[Chain]) -> None:
        """As the portal's Cancel; what is over stays as it is."""
        for chain in queryset:
            try:
                chains.cancel(chain, cast(User, request.user))
                note(request.user, "chain.cancelled", chain)
            except NotPossible as error:
                self.message_user(request, f"{chain}: {error}", messages.WARNING)
