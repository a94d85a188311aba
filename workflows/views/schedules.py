"""Schedules: the list, the page of one, what people do to them."""

from collections.abc import Callable

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from codecourier import audit
from codecourier.access import person, project_of
from codecourier.models import User
from workflows import listing, schedules, timing
from workflows.models import Firing, Schedule
from workflows.schedule_forms import ScheduleForm, preview

Verb = Callable[[Schedule, User], object]
VERBS: dict[str, Verb] = {
    "pause": schedules.pause_by, "resume": schedules.resume, "now": schedules.now, "delete": schedules.delete,
}  # fmt: skip


def schedule_of(request: HttpRequest, slug: str, pk: int) -> Schedule:
    """A schedule of a project that this person may open; Http404 for any other."""
    rows = Schedule.objects.select_related("project", "workflow", "created_by")
    return get_object_or_404(rows, project=project_of(request, slug), pk=pk)


@require_safe
def index(request: HttpRequest, slug: str) -> HttpResponse:
    """All of a project."""
    context = listing.schedules(project_of(request, slug), request.GET)
    page = "workflows/schedule_list.html#rows" if request.headers.get("HX-Request") else "workflows/schedule_list.html"
    return render(request, page, context)


def new(request: HttpRequest, slug: str) -> HttpResponse:
    """Make one; `?workflow=` chooses it."""
    project = project_of(request, slug)
    initial = {"workflow": request.GET.get("workflow", "")}
    form = ScheduleForm(project, request.POST or None, initial=initial)
    return kept(request, form) or shown(request, form)


def detail(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """What it asks and when, and how each time went."""
    schedule = schedule_of(request, slug, pk)
    form = ScheduleForm(schedule.project, request.POST or None, instance=schedule)
    return kept(request, form) or shown(request, form, schedule)


def kept(request: HttpRequest, form: ScheduleForm) -> HttpResponse | None:
    """Save and plan it anew, if it was sent and is right."""
    if request.method != "POST" or not form.is_valid():
        return None
    fresh, schedule = form.instance.pk is None, form.instance
    schedule.created_by = person(request) if fresh else schedule.created_by
    schedule.plan(timezone.now())
    with transaction.atomic():
        # Never its lease, which a worker may hold just now.
        schedule.save(update_fields=None if fresh else [*form.fields, "next_at", "due_at"])
        audit.note(person(request), "schedule.created" if fresh else "schedule.changed", schedule)
        schedule.nudge()
    messages.success(request, f"{schedule} is saved.")
    return redirect("workflows:schedule", schedule.project.slug, schedule.pk)


def shown(request: HttpRequest, form: ScheduleForm, schedule: Schedule | None = None) -> HttpResponse:
    """The page of the form, with what happened so far."""
    rows = schedule.firings.select_related("run")[:30] if schedule else []
    context = {
        "project": form.instance.project, "form": form, "schedule": schedule, "firings": rows,
        "zones": timing.zones(), "preview": preview(form),
    }  # fmt: skip
    return render(request, "workflows/schedule_form.html", context, status=422 if form.errors else 200)


@require_safe
def look(request: HttpRequest, slug: str) -> HttpResponse:
    """What the form, as it is filled in now, would mean."""
    project = project_of(request, slug)
    context = {"preview": preview(ScheduleForm(project, request.GET)), "project": project}
    return render(request, "workflows/schedule_form.html#preview", context)


@require_POST
def do(request: HttpRequest, slug: str, pk: int, verb: str) -> HttpResponse:
    """Pause, resume, start now, delete."""
    schedule = schedule_of(request, slug, pk)
    if verb not in VERBS:
        raise Http404
    made = VERBS[verb](schedule, person(request))
    if isinstance(made, Firing):
        messages.info(request, f"{made.get_outcome_display()}. {made.detail}")
    return redirect("workflows:schedules", slug) if verb == "delete" else redirect("workflows:schedule", slug, pk)
