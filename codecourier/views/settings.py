"""A project's settings, a tab each; only admins see them."""

from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db.models import Q
from django.forms import BaseForm
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from codecourier import keycheck, members, projects, registries
from codecourier.access import person
from codecourier.models import AuditEntry, Membership, Project, ProviderKey, User, Variable
from codecourier.permissions import may, project_for
from codecourier.settings_forms import AgentsForm, GeneralForm, KeyForm, MachinesForm, PasteForm, VariableForm

TABS = {"general": ("General", GeneralForm), "agents": ("Agents", AgentsForm), "machines": ("Machines", MachinesForm)}
OTHERS = {"keys": "Keys", "variables": "Variables", "history": "History", "end": "Transfer and delete"}
ENTRIES = 50  # of the history on one page
NAMES = {name: title for name, (title, _) in TABS.items()} | OTHERS


def page(
    request: HttpRequest, project: Project, tab: str, context: dict[str, object], status: int = 200
) -> HttpResponse:
    """One tab with the bar of all of them."""
    owner = may(person(request), "delete", project)
    first = dict(list(NAMES.items())[: len(TABS)])
    names = first | {name: entry.title for name, entry in registries.tabs.items()} | OTHERS
    shown = {name: title for name, title in names.items() if name != "end" or owner}
    context |= {"project": project, "tab": tab, "tabs": shown.items(), "title": names[tab]}
    return render(request, "codecourier/settings.html", context, status=status)


@sensitive_post_parameters()
def settings(request: HttpRequest, slug: str, tab: str = "general") -> HttpResponse:
    """The tab of that name."""
    project = project_for(request, slug, "delete" if tab == "end" else "settings")
    if tab in TABS:
        return edit(request, project, tab)
    if tab in registries.tabs:
        return added(request, project, tab)
    if tab not in OTHERS:
        raise Http404
    return page(request, project, tab, LISTS[tab](project, request.GET))


def edit(request: HttpRequest, project: Project, tab: str) -> HttpResponse:
    """A tab that is one form."""
    form = TABS[tab][1](request.POST or None, instance=project)
    if request.method == "POST" and form.is_valid():
        projects.changed(form, project, person(request))
        messages.success(request, "Saved. Machines made from now on get it.")
        return redirect("settings-tab", project.slug, tab)
    shown = Project.objects.get(pk=project.pk) if form.errors else project
    return page(request, shown, tab, {"form": form}, 422 if form.errors else 200)


def added(request: HttpRequest, project: Project, tab: str) -> HttpResponse:
    """A tab of another app."""
    html, status = registries.tabs[tab].show(request, project)
    if status == HTTPStatus.SEE_OTHER:
        return redirect(request.get_full_path())
    return page(request, project, tab, {"html": html}, status)


def keys(project: Project, asked: QueryDict) -> dict[str, object]:
    """What is stored, and what the deployment provides."""
    rows = ProviderKey.objects.filter(project=project).select_related("set_by").order_by("provider")
    shared = ProviderKey.objects.filter(project=None).values_list("provider", flat=True)
    return {"keys": rows, "shared": [ProviderKey.Provider(name).label for name in shared], "form": KeyForm()}


def variables(project: Project, asked: QueryDict) -> dict[str, object]:
    """All of them; secret values stay hidden."""
    return {"variables": project.variables.all(), "form": VariableForm(), "paste": PasteForm()}


def history(project: Project, asked: QueryDict) -> dict[str, object]:
    """Who changed what, newest first; `q` narrows it to an action, a thing or a person, `page` turns it."""
    rows = AuditEntry.objects.filter(project=project).select_related("actor")
    if text := asked.get("q", "").strip():
        found = Q(action__icontains=text) | Q(subject__icontains=text) | Q(actor__email__icontains=text)
        rows = rows.filter(found | Q(actor__name__icontains=text))
    page = Paginator(rows, ENTRIES).get_page(asked.get("page"))
    return {"page": page, "entries": page.object_list, "asked": text, "query": urlencode({"q": text})}


def end(project: Project, asked: QueryDict) -> dict[str, object]:
    """Whom it could go to, and what deleting it takes along."""
    others = Membership.objects.filter(project=project).exclude(role=Membership.Role.OWNER).select_related("user")
    return {"others": others, "alive": projects.alive(project)}


LISTS: dict[str, Callable[[Project, QueryDict], dict[str, object]]] = {
    "keys": keys, "variables": variables, "history": history, "end": end,
}  # fmt: skip


def attempt(request: HttpRequest, slug: str, tab: str, act: Callable[[], str]) -> HttpResponse:
    """Do it, or say in a sentence why it can't be done."""
    try:
        messages.success(request, act())
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    return redirect("settings-tab", slug, tab)


def first_error(form: BaseForm) -> ValidationError:
    """What is wrong with a small form, in a sentence."""
    name, errors = next(iter(form.errors.items()))
    return ValidationError(f"{form.fields[name].label if name in form.fields else ''}: {errors[0]}".lstrip(": "))


@require_POST
@sensitive_post_parameters()
def set_key(request: HttpRequest, slug: str) -> HttpResponse:
    """Store a credential."""
    project, form = project_for(request, slug, "keys"), KeyForm(request.POST)

    def act() -> str:
        if not form.is_valid():
            raise first_error(form)
        found = form.cleaned_data
        key = projects.set_key(project, person(request), found["provider"], found["secret"], found["origin"])
        return f"The {key.get_provider_display()} key is stored. Nobody can read it here again."

    return attempt(request, slug, "keys", act)


@require_POST
def change_key(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Test or remove a credential."""
    project = project_for(request, slug, "keys")
    key = get_object_or_404(ProviderKey, project=project, pk=pk)
    if request.POST.get("verb") == "test":
        works, sentence = keycheck.check(key, project)
        messages.add_message(request, messages.SUCCESS if works else messages.ERROR, sentence)
        return redirect("settings-tab", slug, "keys")
    projects.drop_key(key, person(request))
    messages.success(request, f"The {key.get_provider_display()} key is removed.")
    return redirect("settings-tab", slug, "keys")


@require_POST
@sensitive_post_parameters()
def set_variable(request: HttpRequest, slug: str) -> HttpResponse:
    """Store one variable."""
    project, form = project_for(request, slug, "settings"), VariableForm(request.POST)

    def act() -> str:
        if not form.is_valid():
            raise first_error(form)
        found = form.cleaned_data
        made = projects.set_variable(project, person(request), found["name"], found["value"], found["secret"])
        return f"{made.name} is stored. Machines made from now on get it."

    return attempt(request, slug, "variables", act)


@require_POST
@sensitive_post_parameters()
def paste(request: HttpRequest, slug: str) -> HttpResponse:
    """Store everything in a `.env` text."""
    project, form = project_for(request, slug, "settings"), PasteForm(request.POST)

    def act() -> str:
        if not form.is_valid():
            raise first_error(form)
        names = projects.paste(project, person(request), form.cleaned_data["text"])
        return f"Stored: {', '.join(names)}."

    return attempt(request, slug, "variables", act)


@require_POST
def drop_variable(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Remove one variable."""
    project = project_for(request, slug, "settings")
    found = get_object_or_404(Variable, project=project, pk=pk)
    projects.drop_variable(found, person(request))
    messages.success(request, f"{found.name} is removed. Machines that have it keep it.")
    return redirect("settings-tab", slug, "variables")


@require_POST
def transfer(request: HttpRequest, slug: str) -> HttpResponse:
    """Give the project to another member."""
    project, chosen = project_for(request, slug, "transfer"), request.POST.get("to", "")
    to = get_object_or_404(User, pk=int(chosen) if chosen.isdecimal() and len(chosen) < 18 else 0)

    def act() -> str:
        members.transfer(project, person(request), to)
        return f"{to} owns {project} now; you are an admin."

    answer = attempt(request, slug, "end", act)
    return answer if may(person(request), "transfer", project) else redirect("members", slug)


@require_POST
def delete(request: HttpRequest, slug: str) -> HttpResponse:
    """End the project."""
    project = project_for(request, slug, "delete")
    try:
        projects.delete(project, person(request), request.POST.get("name", ""))
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("settings-tab", slug, "end")
    messages.success(request, f"{project.name} is deleted.")
    return redirect("projects")
