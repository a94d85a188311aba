"""Sessions: the list, a new one, one with what it found."""

import secrets
from typing import Any

from django.core.paginator import Paginator
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from codecourier.access import person, project_of
from codecourier.models import Project
from issues import listing, report, scan, sessions
from issues.forms import SessionForm
from issues.models import IssueSession, IssueSettings
from sandboxes import conversation

PAGE = 30
KINDS = [("", "All"), *IssueSession.Kind.choices]


def session_of(request: HttpRequest, slug: str, pk: int) -> IssueSession:
    """A session of a project that this person may open; Http404 for any other."""
    rows = IssueSession.objects.select_related("project", "created_by", "sandbox__template")
    return get_object_or_404(rows, project=project_of(request, slug), pk=pk)


@require_safe
def index(request: HttpRequest, slug: str) -> HttpResponse:
    """The list, the newest first."""
    return render(request, "issues/session_list.html", rows_of(project_of(request, slug), request.GET))


def rows_of(project: Project, params: QueryDict) -> dict[str, Any]:
    """One page of sessions, narrowed by kind, status and words of what was asked or found."""
    rows = IssueSession.objects.filter(project=project)
    kind, status, words = (params.get(name, "").strip() for name in ("kind", "status", "q"))
    found = rows.filter(kind=kind) if kind in IssueSession.Kind.values else rows
    found = found.filter(status=status) if status in IssueSession.Status.values else found
    found = found.filter(Q(prompt__icontains=words) | Q(summary__icontains=words)) if words else found
    page = Paginator(found.select_related("created_by", "sandbox__template"), PAGE).get_page(params.get("page"))
    return {
        "project": project, "page": page, "rows": page.object_list, "tabs": listing.tabs(project),
        "kinds": [(name, label, listing.with_(params, kind=name)) for name, label in KINDS], "kind": kind,
        "statuses": IssueSession.Status.choices, "status": status, "query": listing.without(params, "page"),
        "any": bool(page.object_list) or rows.exists(),
    }  # fmt: skip


def new(request: HttpRequest, slug: str) -> HttpResponse:
    """Start one that looks for issues; `?like=` fills the form with what an earlier one was asked."""
    project = project_of(request, slug)
    form = SessionForm(request.POST or None, initial=initial(project, request.GET.get("like", "")))
    if request.method == "POST" and form.is_valid() and (session := form.launch(project, person(request))):
        return redirect("issues:session", slug, session.pk)
    config = sessions.config_of(project, IssueSession.Kind.SCAN)
    context = {"project": project, "form": form, "tabs": listing.tabs(project), **report.made_with(config)}
    return render(request, "issues/session_new.html", context, status=422 if form.errors else 200)


def initial(project: Project, like: str) -> dict[str, Any]:
    """From the settings, or from an earlier session."""
    key = {"request_key": secrets.token_hex(16)}
    rows = IssueSession.objects.filter(project=project, kind=IssueSession.Kind.SCAN)
    past = rows.filter(pk=like).first() if like.isdecimal() and len(like) < 18 else None
    if past:
        return {**key, "prompt": past.prompt, "scope": "\n".join(past.scope), "most": past.most}
    chosen = IssueSettings.of(project)
    return {**key, "prompt": scan.prompt_of(project), "scope": chosen.scope, "most": chosen.most}


@require_safe
def page(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """How it goes, and what it found."""
    session = session_of(request, slug, pk)
    context = report.context(session)
    if session.sandbox:
        context["conversation"] = conversation.page(session.sandbox, "")
    return render(request, "issues/session_detail.html", context)


@require_POST
def stop(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """End it."""
    session = session_of(request, slug, pk)
    sessions.stop(session, person(request))
    return redirect("issues:session", slug, pk)
