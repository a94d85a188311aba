"""The form that starts a run."""

import secrets

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from codecourier.access import person
from workflows import estimates, listing
from workflows.forms import RunForm, like

from .builder import workflow_of


def launch(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Start a run; `?from=` fills in what an earlier one was asked. Sent twice, the form makes one."""
    workflow = workflow_of(request, slug, pk)
    initial = {**like(workflow.project, request.GET.get("from", "")), "request_key": secrets.token_hex(16)}
    form = RunForm(workflow, request.POST or None, request.FILES or None, initial=initial)
    if request.method == "POST" and form.is_valid() and (run := form.launch(person(request))):
        return redirect("workflows:run", slug, run.pk)
    steps = workflow.steps.select_related("persona", "block")
    context = {
        "project": workflow.project, "workflow": workflow, "form": form, "items": listing.items(steps),
        "estimate": estimates.of(workflow),
    }  # fmt: skip
    return render(request, "workflows/run_new.html", context, status=422 if form.errors else 200)
