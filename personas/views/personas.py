"""Personas: cards, a new one, the page of one."""

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template.loader import render_to_string
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from codecourier import audit, registries
from codecourier.access import person, project_of
from codecourier.models import Project
from personas.briefing import brief
from personas.forms import PersonaForm, preset
from personas.models import Persona
from personas.roles import ROLES
from personas.stock import text


def persona_of(request: HttpRequest, slug: str, pk: int) -> Persona:
    """A persona of a project that this person may open; Http404 for any other."""
    rows = Persona.objects.select_related("project", "context__active")
    return get_object_or_404(rows, project=project_of(request, slug), pk=pk)


@require_safe
def index(request: HttpRequest, slug: str) -> HttpResponse:
    """All that are not archived, or those that are."""
    project = project_of(request, slug)
    archived = "archived" in request.GET
    rows = Persona.objects.filter(project=project, archived_at__isnull=not archived)
    rows = rows.select_related("context").prefetch_related("assets")
    context = {"project": project, "personas": rows, "roles": ROLES.values(), "archived": archived}
    return render(request, "personas/persona_list.html", context)


def new(request: HttpRequest, slug: str) -> HttpResponse:
    """Make one; `?role=` fills in what the role suggests."""
    project = project_of(request, slug)
    role = request.GET.get("role", "designer")
    initial = {**preset(role), "instructions": text(role)}
    form = PersonaForm(project, request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        return kept(request, form, "persona.created")
    context = {"project": project, "form": form, "roles": ROLES.values(), "role": role}
    return render(request, "personas/persona_form.html", context, status=422 if form.errors else 200)


def detail(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Its configuration, what a machine would get, and what became of it."""
    persona = persona_of(request, slug, pk)
    form = PersonaForm(persona.project, request.POST or None, instance=persona)
    if request.method == "POST" and form.is_valid():
        return kept(request, form, "persona.changed")
    briefing = brief(persona.project, Persona.objects.get(pk=pk))
    cards = [use(persona) for use in registries.uses]
    context = {
        "project": persona.project, "persona": persona, "form": form, "briefing": briefing,
        "uses": [render_to_string(card.template, card.context) for card in cards],
    }  # fmt: skip
    return render(request, "personas/persona_form.html", context, status=422 if form.errors else 200)


def kept(request: HttpRequest, form: PersonaForm, action: str) -> HttpResponse:
    """Save, note who did, and show it."""
    with transaction.atomic():
        persona = form.save()
        audit.note(person(request), action, persona, fields=sorted(form.changed_data))
    messages.success(request, f"{persona} is saved. Machines made from now on get it.")
    return redirect("personas:detail", persona.project.slug, persona.pk)


@require_POST
def duplicate(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """A copy under a free name."""
    persona = persona_of(request, slug, pk)
    assets, taken = list(persona.assets.all()), set(names_in(persona.project))
    names = (f"{persona.name[:70]} {number}" for number in range(2, len(taken) + 3))
    persona.pk, persona.name, persona.archived_at = None, next(name for name in names if name not in taken), None
    with transaction.atomic():
        persona.save(force_insert=True)
        persona.assets.set(assets)
        audit.note(person(request), "persona.duplicated", persona, of=pk)
    return redirect("personas:detail", slug, persona.pk)


def names_in(project: Project) -> list[str]:
    """Every name that is or was used."""
    return list(Persona.objects.filter(project=project).values_list("name", flat=True))


@require_POST
def archive(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Out of the list, or back into it where its name is still free."""
    persona = persona_of(request, slug, pk)
    if persona.archived_at and Persona.objects.kept().filter(project=persona.project, name=persona.name).exists():
        messages.error(request, f"There is another persona named {persona.name}. Rename that one first.")
        return redirect("personas:detail", slug, pk)
    with transaction.atomic():
        Persona.objects.filter(pk=pk).update(archived_at=None if persona.archived_at else timezone.now())
        audit.note(person(request), "persona.restored" if persona.archived_at else "persona.archived", persona)
    return redirect("personas:list", slug)
