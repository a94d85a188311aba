"""The list of runs."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from codecourier.access import person, project_of
from sandboxes.turns import NotPossible
from workflows import listing
from workflows import runs as verbs
from workflows.models import Run


@require_safe
def index(request: HttpRequest, slug: str) -> HttpResponse:
    """The list, narrowed by the URL."""
    project = project_of(request, slug)
    return render(request, "workflows/run_list.html", listing.runs(project, person(request), request.GET))


@require_POST
def bulk(request: HttpRequest, slug: str) -> HttpResponse:
    """Cancel every chosen row of the list; those that are over stay as they are."""
    project = project_of(request, slug)
    chosen = [int(value) for value in request.POST.getlist("run") if value.isdecimal() and len(value) < 18]
    back = f"{reverse('workflows:runs', args=[slug])}?{request.POST.get('query', '')}"
    if not chosen:
        messages.error(request, "Choose one or more runs first, then what to do with them.")
        return redirect(back)
    asked = sum(cancelled(run, request) for run in Run.objects.active().filter(project=project, pk__in=chosen))
    messages.success(request, f"{asked} of {len(chosen)} runs asked to stop.")
    return redirect(back)


def cancelled(run: Run, request: HttpRequest) -> bool:
    """Whether it could still be cancelled."""
    try:
        verbs.cancel(run, person(request))
    except NotPossible:
        return False
    return True
