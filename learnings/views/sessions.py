"""The sessions that read finished work."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from codecourier.access import person, project_of
from learnings import extraction, listing
from learnings.models import Extraction
from sandboxes.models import Sandbox
from sandboxes.turns import NotPossible


@require_safe
def index(request: HttpRequest, slug: str) -> HttpResponse:
    """All of them, the newest first."""
    return render(request, "learnings/session_list.html", listing.sessions(project_of(request, slug), request.GET))


@require_POST
def again(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Read the same work once more."""
    row = get_object_or_404(Extraction, project=project_of(request, slug), pk=pk)
    try:
        extraction.again(row, person(request))
        messages.success(request, f"{row} is read once more.")
    except NotPossible as error:
        messages.error(request, str(error))
    return redirect("learnings:sessions", slug)


@require_POST
def read(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Read a sandbox now, whatever the settings say."""
    found = get_object_or_404(Sandbox, project=project_of(request, slug), pk=pk)
    try:
        extraction.read_now(found, person(request))
        messages.success(request, "A session reads it. Its lessons come into the inbox.")
    except NotPossible as error:
        messages.error(request, str(error))
    return redirect("sandboxes:detail", slug, pk)


@require_POST
def read_run(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Read all of a run now."""
    project = project_of(request, slug)
    try:
        extraction.read_run(project, pk, person(request))
        messages.success(request, "A session reads it. Its lessons come into the inbox.")
    except NotPossible as error:
        messages.error(request, str(error))
    return redirect("learnings:sessions", slug)
