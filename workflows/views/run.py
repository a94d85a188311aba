"""The page of one run."""

import secrets

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from codecourier.access import person, project_of
from sandboxes.turns import NotPossible
from workflows import runs
from workflows.models import Run


def run_of(request: HttpRequest, slug: str, pk: int) -> Run:
    """A run of a project that this person may open; Http404 for any other."""
    rows = Run.objects.select_related("project", "workflow", "created_by")
    return get_object_or_404(rows, project=project_of(request, slug), pk=pk)


@require_safe
def detail(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """What was asked, and where it stands."""
    run = run_of(request, slug, pk)
    context = {"project": run.project, "run": run, "steps": run.step_runs.all(), "key": secrets.token_hex(16)}
    return render(request, "workflows/run_detail.html", context)


@require_POST
def do(request: HttpRequest, slug: str, pk: int, verb: str) -> HttpResponse:
    """Cancel, again, score."""
    run, made = run_of(request, slug, pk), None
    try:
        if verb == "cancel":
            runs.cancel(run, person(request))
        elif verb == "again":
            made = runs.again(run, person(request))
        elif verb == "score":
            runs.ask_score(run, person(request))
        else:
            raise Http404
    except NotPossible as error:
        messages.error(request, str(error))
    return redirect("workflows:run", slug, (made or run).pk)
