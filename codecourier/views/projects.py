"""Projects: the list, a new one, its dashboard."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.views.decorators.http import require_safe

from codecourier import registries
from codecourier.access import person, project_of
from codecourier.forms import ProjectForm

LAST = "last_project"


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """The project this person was in last, their only one, or the list."""
    slugs = list(person(request).projects.values_list("slug", flat=True)[:2])
    last = request.session.get(LAST)
    if last and person(request).projects.filter(slug=last).exists():
        return redirect("project", last)
    return redirect("project", slugs[0]) if len(slugs) == 1 else redirect("projects")


@require_safe
def projects(request: HttpRequest) -> HttpResponse:
    """Every project of this person; the frame knows them already."""
    return render(request, "codecourier/projects.html")


def new(request: HttpRequest) -> HttpResponse:
    """Make a project."""
    form = ProjectForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        project = form.create(person(request))
        messages.success(request, f"{project.name} is there. Start its first sandbox.")
        return redirect("project", project.slug)
    return render(request, "codecourier/project_new.html", {"form": form}, status=422 if form.errors else 200)


@require_safe
def dashboard(request: HttpRequest, slug: str) -> HttpResponse:
    """What goes on in a project."""
    project = project_of(request, slug)
    if request.session.get(LAST) != slug:
        request.session[LAST] = slug
    cards = [card(project) for card in registries.cards]
    shown = [render_to_string(card.template, card.context) for card in cards]
    return render(request, "codecourier/project.html", {"project": project, "cards": shown})
