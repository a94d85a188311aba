"""The changes of a run: of one step, of all so far, and as a patch."""

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_safe

from codecourier import git
from codecourier.redact import Redactor
from sandboxes.changes import reading, showing
from workflows import changes, page
from workflows.changes import Asked

from .run import run_of


def asked(request: HttpRequest, slug: str, pk: int) -> Asked:
    """Whose changes, and of what kind."""
    run = run_of(request, slug, pk)
    params = request.GET.dict()
    return changes.asked(run, page.chosen(run, params.get("step_run", "")), params)


@require_safe
def index(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """The tree and the files of one page: to htmx as a part, to anybody else as a page."""
    context = changes.context(asked(request, slug, pk))
    part = "HX-Request" in request.headers
    return render(request, f"workflows/{'_changes' if part else 'run_changes'}.html", context)


@require_safe
def one(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """The lines of one file of the diff."""
    which, path = asked(request, slug, pk), request.GET.get("path", "")
    entry = {"problem": "This file is the same in both states.", "ready": True}
    try:
        found = [] if which.found.empty else reading.changes(which.found)
        if change := next((change for change in found if change.path == path), None):
            redactor, said = Redactor(which.run.project.secrets()), changes.notes(which).get(path, ())
            entry = showing.lines(which.found, change, redactor, split=which.split, notes=said)
    except git.GitError as error:
        entry = {"problem": f"The portal's repository can't be read: {error}", "ready": True}
    return render(request, "sandboxes/_changes_lines.html", {"entry": entry, "split": which.split})


@require_safe
def patch(request: HttpRequest, slug: str, pk: int) -> HttpResponse | StreamingHttpResponse:
    """What `git apply` takes, streamed."""
    which = asked(request, slug, pk)
    if which.found.empty:
        return redirect("workflows:run", slug, pk)
    headers = {
        "Content-Disposition": content_disposition_header(True, f"run-{pk}-{which.of}.patch") or "attachment",
        "X-Content-Type-Options": "nosniff", "Cache-Control": "private, no-store",
    }  # fmt: skip
    return StreamingHttpResponse(reading.whole_patch(which.found), content_type="text/x-diff", headers=headers)
