"""Chains: the list, a new one of either kind, one with its progress."""

import secrets
from collections.abc import Callable
from typing import Any

from django.core.paginator import Paginator
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from codecourier.access import person, project_of, verb_of
from codecourier.models import Project
from issues import chain as chains
from issues import listing, progress
from issues.forms import SprintForm, WorkChainForm
from issues.models import Chain, Issue, Link

from .cards import MOST, attempt, number

PAGE = 30
VIEWS = [("", "All"), *Chain.Status.choices]
VERBS: dict[str, Callable[..., Any]] = {"resume": chains.resume, "skip": chains.skip}


def chain_of(request: HttpRequest, slug: str, pk: int) -> Chain:
    """A chain of a project that this person may open; Http404 for any other."""
    rows = Chain.objects.select_related("project", "created_by", "workflow")
    return get_object_or_404(rows, project=project_of(request, slug), pk=pk)


@require_safe
def index(request: HttpRequest, slug: str) -> HttpResponse:
    """The list, the newest first."""
    return render(request, "issues/chain_list.html", rows_of(project_of(request, slug), request.GET))


def rows_of(project: Project, params: QueryDict) -> dict[str, Any]:
    """One page of chains with how far they are, narrowed by status and words of the title."""
    done = Count("links", filter=Q(links__status__in=[Link.Status.COMPLETED, Link.Status.SKIPPED]))
    rows = Chain.objects.filter(project=project)
    status, words = params.get("status", ""), params.get("q", "").strip()
    found = rows.filter(status=status) if status in Chain.Status.values else rows
    found = found.filter(title__icontains=words) if words else found
    shown = found.select_related("workflow", "created_by").annotate(of=Count("links"), done=done).order_by("-pk")
    page = Paginator(shown, PAGE).get_page(params.get("page"))
    return {
        "project": project, "page": page, "rows": page.object_list, "tabs": listing.tabs(project), "status": status,
        "views": [(name, label, listing.with_(params, status=name)) for name, label in VIEWS],
        "query": listing.without(params, "page"), "any": bool(page.object_list) or rows.exists(),
    }  # fmt: skip


def new(request: HttpRequest, slug: str) -> HttpResponse:
    """Make one: of the cards in the URL or the form, else towards a goal."""
    project = project_of(request, slug)
    chosen = order(project, (request.POST if request.method == "POST" else request.GET).getlist("issue"))
    made = WorkChainForm if chosen else SprintForm
    form = made(project, request.POST or None, initial={"request_key": secrets.token_hex(16)})
    if request.method == "POST" and form.is_valid() and (chain := form.launch(person(request))):
        return redirect("issues:chain", slug, chain.pk)
    context = {"project": project, "form": form, "chosen": chosen, "tabs": listing.tabs(project)}
    return render(request, "issues/chain_new.html", context, status=422 if form.errors else 200)


def order(project: Project, texts: list[str]) -> list[Issue]:
    """Cards by their numbers, in that order."""
    numbers = list(dict.fromkeys(pk for text in texts if (pk := number(text))))[:MOST]
    rows = {row.pk: row for row in Issue.objects.filter(project=project, pk__in=numbers).defer("search", "words")}
    return [rows[pk] for pk in numbers if pk in rows]


@require_safe
def page(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """How far it is."""
    return render(request, "issues/chain_detail.html", progress.context(chain_of(request, slug, pk)))


@require_POST
def cancel(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """End it."""
    chain = chain_of(request, slug, pk)
    attempt(request, lambda: chains.cancel(chain, person(request)))
    return redirect("issues:chain", slug, pk)


@require_POST
def do(request: HttpRequest, slug: str, pk: int, link: int, verb: str) -> HttpResponse:
    """Resume from a link, or do without it."""
    chain = chain_of(request, slug, pk)
    found = get_object_or_404(Link, chain=chain, pk=link)
    act = verb_of(VERBS, verb)
    attempt(request, lambda: act(chain, found, person(request)))
    return redirect("issues:chain", slug, pk)
