"""Compiled versions: the list, the preview of the next one, the page of one."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_POST, require_safe

from codecourier import markdown
from codecourier.access import person, project_of
from codecourier.models import Project
from learnings import compiling, listing
from learnings.models import LearningSettings, Lesson, Version
from learnings.models.version import parts_of, title_of
from personas.library import difference
from sandboxes.turns import NotPossible


@require_safe
def index(request: HttpRequest, slug: str) -> HttpResponse:
    """All of them, the newest first."""
    project = project_of(request, slug)
    versions = project.learning_versions.select_related("made_by").prefetch_related("lessons")
    draft = compiling.draft(project)
    latest = versions.first()
    context = {
        **listing.views(project), "versions": versions[:200], "choices": LearningSettings.of(project), "draft": draft,
        "changed": bool(draft.lessons) and not (latest and latest.digest == draft.digest),
    }  # fmt: skip
    return render(request, "learnings/version_list.html", context)


def compile_page(request: HttpRequest, slug: str) -> HttpResponse:
    """What would be compiled now and how it differs from what is active; a post does it."""
    project = project_of(request, slug)
    if request.method == "POST":
        return compiled(request, project)
    choices, draft = LearningSettings.of(project), compiling.draft(project)
    changed = [key for key, text in sorted(draft.texts.items()) if text != told(choices.active, key)]
    role = chosen(request.GET.get("role", next(iter(changed), "")), draft.texts)
    document = draft.documents.get(role)
    context = {
        **listing.views(project), "choices": choices, "draft": draft, "role": role, "document": document,
        "parts": [(key, title, len(text), key in changed) for key, title, text in parts_of(draft.texts)],
        **shown(choices.active, document.text if document else "", role),
    }  # fmt: skip
    return render(request, "learnings/version_compile.html", context)


def compiled(request: HttpRequest, project: Project) -> HttpResponse:
    """Make the version, and activate it where that was asked along."""
    now = "activate" in request.POST
    try:
        version = compiling.compile_now(project, person(request), request.POST.get("note", ""), activate=now)
    except NotPossible as error:
        messages.error(request, str(error))
        return redirect("learnings:compile", project.slug)
    told = "Machines made from now on get it." if now else "It reaches machines once it is activated."
    messages.success(request, f"Version {version.number} is compiled. {told}")
    return redirect("learnings:version", project.slug, version.number)


def told(version: Version | None, role: str) -> str:
    """What machines of a role are told by a version, or without one."""
    return version.document(role) if version else ""


def chosen(role: str, documents: dict[str, Any]) -> str:
    """The role that is asked for where it has a document of its own, else the common one."""
    return role if role in documents else ""


def shown(old: Version | None, text: str, role: str) -> dict[str, Any]:
    """A document as it reads, and what is other in it than in another version's."""
    lines = difference(told(old, role), text)
    return {"html": markdown.rendered(text), "old": old, "lines": lines, "role_title": title_of(role)}


def version_of(request: HttpRequest, slug: str, number: int) -> Version:
    """A version of a project that this person may open; Http404 for any other."""
    rows = Version.objects.select_related("project", "made_by")
    return get_object_or_404(rows, project=project_of(request, slug), number=min(number, 2**31 - 1))


@require_safe
def detail(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    """What a version says, how it differs from the active one or, where it is that, from the one before; who had it."""
    version = version_of(request, slug, number)
    choices, role = LearningSettings.of(version.project), chosen(request.GET.get("role", ""), version.documents)
    active = choices.active_id == version.pk
    earlier = version.project.learning_versions.filter(number__lt=number).first()
    missing = Lesson.objects.filter(project=version.project, pk__in=version.left_out.get(role, []))
    context = {
        **listing.views(version.project), "version": version, "choices": choices, "active": active, "role": role,
        "parts": [(key, title, len(text), False) for key, title, text in version.parts], "missing": missing,
        "lessons": version.lessons.order_by("-severity", "pk"), **listing.had(version),
        **shown(earlier if active else choices.active, version.document(role), role),
    }  # fmt: skip
    return render(request, "learnings/version_detail.html", context)


@require_POST
def activate(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    """Make it what machines get, be it an older one."""
    version = version_of(request, slug, number)
    compiling.switch(version.project, person(request), version)
    messages.success(request, f"Version {number} is active. Machines made from now on get it.")
    return redirect("learnings:version", slug, number)


@require_POST
def off(request: HttpRequest, slug: str) -> HttpResponse:
    """Have machines told nothing."""
    compiling.switch(project_of(request, slug), person(request), None)
    messages.success(request, "No version is active. Machines made from now on are told nothing.")
    return redirect("learnings:versions", slug)


@require_safe
def download(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    """The document of a role as a file."""
    version = version_of(request, slug, number)
    role = chosen(request.GET.get("role", ""), version.documents)
    name = f"learnings-v{number}{f'-{role}' if role else ''}.md"
    disposition = content_disposition_header(as_attachment=True, filename=name) or "attachment"
    return HttpResponse(
        version.document(role), content_type="application/octet-stream", headers={"Content-Disposition": disposition}
    )
