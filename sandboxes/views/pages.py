"""The list, a new one, the page of one."""

import secrets

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_safe

from codecourier.access import person, project_of
from sandboxes import conversation, e2b
from sandboxes.forms import SandboxForm, continuing, like, summary, with_persona
from sandboxes.listing import listing
from sandboxes.models import Sandbox
from sandboxes.record import record


def sandbox_of(request: HttpRequest, slug: str, pk: int) -> Sandbox:
    """A sandbox of a project that this person may open; Http404 for any other."""
    rows = Sandbox.objects.select_related("project", "template", "created_by", "wanted_by", "pull_request")
    return get_object_or_404(rows, project=project_of(request, slug), pk=pk)


@require_safe
def index(request: HttpRequest, slug: str) -> HttpResponse:
    """The list, narrowed by the URL."""
    project = project_of(request, slug)
    return render(request, "sandboxes/sandbox_list.html", listing(project, person(request), request.GET))


def new(request: HttpRequest, slug: str) -> HttpResponse:
    """Make one. The hidden mark makes a form that is sent twice make one sandbox."""
    project = project_of(request, slug)
    initial = {**like(project, request.GET.get("from", "")), "request_key": secrets.token_hex(16)}
    initial |= continuing(project, request.GET.get("continue", ""))
    initial |= with_persona(project, request.GET.get("persona", ""))
    form = SandboxForm(project, request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid() and (sandbox := form.launch(person(request))):
        if sandbox.memory_mb < sandbox.template.needs_mb:
            messages.warning(request, f"{sandbox.template} usually needs {sandbox.template.needs_mb} MB of memory.")
        return redirect("sandboxes:detail", slug, sandbox.pk)
    context = {"form": form, "project": project, "summary": summary(form), "isolation": e2b.isolation(project)}
    return render(request, "sandboxes/sandbox_new.html", context, status=422 if form.errors else 200)


@require_safe
def preview(request: HttpRequest, slug: str) -> HttpResponse:
    """What the form, as it is filled in now, would make."""
    project = project_of(request, slug)
    made = summary(SandboxForm(project, request.GET))
    context = {"summary": made, "project": project, "isolation": e2b.isolation(project)}
    return render(request, "sandboxes/sandbox_new.html#summary", context)


@require_safe
def detail(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Everything about one sandbox."""
    sandbox = sandbox_of(request, slug, pk)
    context = record(sandbox, request.GET.get("job", ""), request.GET.get("tab", ""))
    if context["tab"] == "conversation":
        already = conversation.Read(context["turns"], context["prices"])
        context["conversation"] = conversation.page(sandbox, request.GET.get("before", ""), already)
    return render(request, "sandboxes/sandbox_detail.html", context)
