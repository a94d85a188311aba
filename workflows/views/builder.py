"""Workflows: the list, the page of one, the builder."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from codecourier.access import person, project_of
from workflows import building, draft, listing
from workflows.models import Workflow


def workflow_of(request: HttpRequest, slug: str, pk: int) -> Workflow:
    """A workflow of a project that this person may open; Http404 for any other."""
    rows = Workflow.objects.select_related("project", "created_by", "evaluator")
    return get_object_or_404(rows, project=project_of(request, slug), pk=pk)


@require_safe
def index(request: HttpRequest, slug: str) -> HttpResponse:
    """All that are not archived, or those that are."""
    return render(request, "workflows/workflow_list.html", listing.workflows(project_of(request, slug), request.GET))


@require_safe
def detail(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Its steps, and what became of its runs."""
    workflow = workflow_of(request, slug, pk)
    return render(request, "workflows/workflow_detail.html", listing.workflow(workflow))


def new(request: HttpRequest, slug: str) -> HttpResponse:
    """Build one."""
    return build(request, Workflow(project=project_of(request, slug)))


def edit(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Build it anew."""
    return build(request, workflow_of(request, slug, pk))


def build(request: HttpRequest, workflow: Workflow) -> HttpResponse:
    """The builder. Every button but Save only arranges what was sent, and nothing is stored."""
    deed = request.POST.get("do", "")
    if request.method != "POST":
        shown = draft.stored(workflow) if workflow.pk else draft.empty(workflow)
    else:
        shown = draft.sent(workflow, request.POST, checked=not deed)
        if not deed and (saved := shown.save(person(request))):
            messages.success(request, f"{saved} is saved. Runs that are started from now on go by it.")
            return redirect("workflows:detail", saved.project.slug, saved.pk)
        shown = shown.arranged(deed) if deed else shown
    page = "workflows/workflow_form.html#steps" if request.headers.get("HX-Request") else "workflows/workflow_form.html"
    context = {"project": workflow.project, "draft": shown}
    return render(request, page, context, status=422 if shown.error else 200)


@require_POST
def duplicate(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """A copy under a free name."""
    made = building.duplicate(workflow_of(request, slug, pk), person(request))
    messages.success(request, f"{made} is there. Change what it should do differently.")
    return redirect("workflows:detail", slug, made.pk)


@require_POST
def archive(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Out of the list, or back into it where its name is still free."""
    workflow = workflow_of(request, slug, pk)
    if not building.archive(workflow, person(request)):
        messages.error(request, f"There is another workflow named {workflow}. Rename that one first.")
        return redirect("workflows:detail", slug, pk)
    return redirect("workflows:list", slug)
