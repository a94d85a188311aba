"""Workflows and runs in the Django admin: status is read only, actions go through the same verbs as the portal."""

from typing import Any, cast

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from codecourier.admin import Audited
from codecourier.models import User
from sandboxes.admin import ReadOnlyInline, RecordAdmin
from sandboxes.turns import NotPossible

from . import building, runs, schedules
from .models import Block, Firing, Run, Schedule, Step, StepRun, Workflow


class StepInline(ReadOnlyInline):
    """The steps, which are built in the portal."""

    model = Step
    fields = ["position", "persona", "name", "block", "candidates"]


class BlockInline(ReadOnlyInline):
    """The blocks."""

    model = Block
    fields = ["id", "loop_max_iterations"]


@admin.register(Workflow)
class WorkflowAdmin(Audited):
    """What people build; steps and blocks are changed in the portal."""

    list_display = ["name", "project", "evaluate", "publish", "created_by", "created_at", "archived_at"]
    list_filter = ["project", "evaluate", "publish"]
    search_fields = ["name", "description"]
    list_select_related = ["project", "created_by"]
    autocomplete_fields = ["project", "evaluator", "created_by"]
    inlines = [StepInline, BlockInline]
    actions = ["archive"]

    @admin.action(description="Archive")
    def archive(self, request: HttpRequest, queryset: QuerySet[Workflow]) -> None:
        """Out of the lists; runs that go on stay as they are."""
        count = sum(building.archive(row, cast(User, request.user)) for row in queryset.filter(archived_at=None))
        self.message_user(request, f"{count} archived.", messages.SUCCESS)


class StepRunInline(ReadOnlyInline):
    """The steps at work."""

    model = StepRun
    fields = ["id", "kind", "step", "iteration", "candidate", "status", "reason", "detail", "sandbox", "started_at"]


@admin.register(Run)
class RunAdmin(RecordAdmin):
    """Every run of the deployment."""

    list_display = ["id", "title", "project", "workflow", "status", "reason", "source", "score", "created_by"]
    list_filter = ["status", "source", "project"]
    search_fields = ["title", "id", "work_branch"]
    list_select_related = ["project", "workflow", "created_by"]
    inlines = [StepRunInline]
    actions = ["cancel", "look"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """A run is changed by its verbs, not by hand."""
        return [field.name for field in Run._meta.fields]

    @admin.action(description="Cancel, work saved first")
    def cancel(self, request: HttpRequest, queryset: QuerySet[Run]) -> None:
        """As the portal's Cancel."""
        asked = sum(self._cancelled(run, request) for run in queryset)
        self.message_user(request, f"{asked} asked to stop.", messages.SUCCESS)

    def _cancelled(self, run: Run, request: HttpRequest) -> bool:
        try:
            runs.cancel(run, cast(User, request.user))
        except NotPossible:
            return False
        return True

    @admin.action(description="Look at it now")
    def look(self, request: HttpRequest, queryset: QuerySet[Run]) -> None:
        """Without waiting for its time."""
        for run in queryset:
            Run.poke(run.pk)
        self.message_user(request, "Asked.", messages.SUCCESS)


@admin.register(StepRun)
class StepRunAdmin(RecordAdmin):
    """What each step did."""

    list_display = ["id", "run", "kind", "step", "iteration", "candidate", "status", "reason", "sandbox", "created_at"]
    list_filter = ["status", "kind", "run__project"]
    search_fields = ["run__title", "run__id", "sandbox__id"]
    list_select_related = ["run", "sandbox"]


class FiringInline(ReadOnlyInline):
    """How its times went."""

    model = Firing
    fields = ["planned_at", "at", "outcome", "detail", "run"]


@admin.register(Schedule)
class ScheduleAdmin(RecordAdmin):
    """What comes round by itself; it is changed in the portal, as its next time follows from it."""

    list_display = ["name", "project", "workflow", "every", "at", "zone", "next_at", "paused_at", "paused_why"]
    list_filter = ["every", "overlap", "project"]
    search_fields = ["name", "prompt"]
    list_select_related = ["project", "workflow"]
    inlines = [FiringInline]
    actions = ["pause", "resume"]

    @admin.action(description="Pause")
    def pause(self, request: HttpRequest, queryset: QuerySet[Schedule]) -> None:
        """No time comes round before somebody resumes it."""
        for schedule in queryset.filter(paused_at=None):
            schedules.pause_by(schedule, cast(User, request.user))
        self.message_user(request, "Paused.", messages.SUCCESS)

    @admin.action(description="Resume")
    def resume(self, request: HttpRequest, queryset: QuerySet[Schedule]) -> None:
        """From the next time on."""
        for schedule in queryset.exclude(paused_at=None):
            schedules.resume(schedule, cast(User, request.user))
        self.message_user(request, "Resumed.", messages.SUCCESS)
