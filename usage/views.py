"""Usage pages: the report, what was had for it, the rows behind a number, exports, budgets."""

from typing import Any
from urllib.parse import unquote

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from codecourier import audit
from codecourier.access import person
from codecourier.models import Project

from . import budgets as limits
from . import exports, holding
from . import report as reports
from .access import scope_of, sets_budgets
from .filters import DIMENSIONS, SPANS, Asked, asked
from .forms import AmountForm, BudgetForm
from .models import Budget, Entry

PAGE = 50
FORMS = {"csv": (exports.csv_file, "text/csv; charset=utf-8"), "json": (exports.json_file, "application/json")}


def question(request: HttpRequest, slug: str) -> Asked:
    """What the page is asked for, by whom may ask it."""
    return asked(request.GET.dict(), unquote(request.COOKIES.get("zone", "")), scope_of(request, slug))


def frame(request: HttpRequest, project: Project | None) -> dict[str, Any]:
    """What the pages have in common."""
    base = f"usage:{'project' if project else 'organisation'}"
    names = {"report": base, **{name: f"{base}-{name}" for name in ("worth", "rows", "budgets")}}
    args = [project.slug] if project else []
    return {
        "project": project,
        "urls": {name: reverse(url, args=args) for name, url in names.items()},
        "csv": reverse(f"{base}-export", args=[*args, "csv"]),
        "json": reverse(f"{base}-export", args=[*args, "json"]),
        # Others who may find it on the list of projects: to ask for permissions takes two questions.
        "sees_all": person(request).is_staff,
    }


@require_safe
def report(request: HttpRequest, slug: str = "") -> HttpResponse:
    """What was used, and what it cost."""
    found = question(request, slug)
    context = {
        **frame(request, found.project),
        **reports.report(found),
        "spans": [(label, found.query(span=name), name == found.span) for name, label in SPANS.items()],
        "splits": [
            (heading, found.query(split=name), name == found.split)
            for name, (heading, _) in DIMENSIONS.items()
            if name != "project" or found.project is None
        ],
        "heading": DIMENSIONS[found.split][0],
        "idle_query": found.query(activity="idle"),
        "orphan_query": found.query(activity="orphan"),
        "prices": person(request).is_staff,
    }
    return render(request, "usage/report.html", context)


@require_safe
def worth(request: HttpRequest, slug: str = "") -> HttpResponse:
    """Runs, iterations and pull requests: to the page a part of it, to anybody else a page."""
    found = question(request, slug)
    part = "#worth" if "HX-Request" in request.headers else ""
    return render(request, f"usage/worth.html{part}", {**frame(request, found.project), **reports.worth(found)})


@require_safe
def rows(request: HttpRequest, slug: str = "") -> HttpResponse:
    """The rows of the ledger behind a number."""
    found = question(request, slug)
    page = Paginator(Entry.objects.filter(found.entries()).order_by("-at", "-id"), PAGE).get_page(
        request.GET.get("page")
    )
    query = request.GET.copy()
    query.pop("page", None)
    context = {"asked": found, "page": page, "query": query.urlencode(), "chips": reports.chips(found, {})}
    return render(request, "usage/rows.html", {**frame(request, found.project), **context})


@require_safe
def export(request: HttpRequest, form: str, slug: str = "") -> StreamingHttpResponse:
    """The same rows as a file."""
    found = question(request, slug)
    if form not in FORMS:
        raise Http404
    write, kind = FORMS[form]
    name = f"usage-{found.project.slug if found.project else 'all'}-{found.first}-{found.last}.{form}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingHttpResponse(write(found.entries()), content_type=kind, headers=headers)


def budgets(request: HttpRequest, slug: str = "") -> HttpResponse:
    """The budgets of a project, or all of them, with a form for another."""
    project = scope_of(request, slug)
    sets = sets_budgets(person(request), project)
    form = BudgetForm(project, request.POST or None) if sets else None
    if request.method == "POST":
        if form is None:
            raise Http404
        if form.is_valid():
            return saved(request, form.save(commit=False), project, "budget.set")
    shown = Budget.objects.filter(project=project) if project else Budget.objects.all()
    over = [] if project is None else [b for b in limits.applying(project, person(request)) if b.project_id is None]
    context = {
        "budgets": [stand(budget) for budget in shown.select_related("project", "person", "set_by")],
        "others": [stand(budget) for budget in over],
        "form": form,
    }
    return render(
        request,
        "usage/budgets.html",
        {**frame(request, project), **context},
        status=422 if form and form.errors else 200,
    )


def stand(budget: Budget) -> dict[str, Any]:
    """How a budget stands."""
    used = None if budget.scope == Budget.Scope.RUN else limits.spent(budget)
    percent = float(100 * used / budget.amount) if used is not None and budget.amount else 100.0
    return {"budget": budget, "used": used, "percent": percent, "shown": min(100, round(percent)),
            "colour": "danger" if percent >= 90 else "warning" if percent >= 80 else "primary"}  # fmt: skip


def saved(request: HttpRequest, budget: Budget, project: Project | None, action: str) -> HttpResponse:
    """Keep it, and have go on what now can."""
    budget.set_by, budget.set_at = person(request), timezone.now()
    budget.save()
    audit.note(person(request), action, budget, scope=budget.scope, amount=str(budget.amount))
    woken = holding.change(budget, person(request))
    went_on = f" {woken} sandbox{'es go' if woken != 1 else ' goes'} on." if woken else ""
    messages.success(request, f"The {budget} is ${budget.amount:,.2f}.{went_on}")
    return redirect(frame(request, project)["urls"]["budgets"])


@require_POST
def budget(request: HttpRequest, pk: int, slug: str = "") -> HttpResponse:
    """Another amount, or none any more."""
    project = scope_of(request, slug)
    if not sets_budgets(person(request), project):
        raise Http404
    found = get_object_or_404(Budget.objects.filter(project=project) if project else Budget.objects.all(), pk=pk)
    if request.POST.get("verb") == "remove":
        audit.note(person(request), "budget.removed", found)
        messages.success(request, f"The {found} was removed.")
        found.delete()
        holding.go_on(person(request))
        return redirect(frame(request, project)["urls"]["budgets"])
    form = AmountForm(request.POST, instance=found)
    if form.is_valid():
        return saved(request, form.save(commit=False), project, "budget.changed")
    messages.error(request, f"The {found} stays as it was: {form.errors.as_data()['amount'][0].messages[0]}")
    return redirect(frame(request, project)["urls"]["budgets"])
