"""Assets: the list, the editor with its drafts, versions."""

import itertools

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_POST, require_safe

from codecourier import audit, code, markdown
from codecourier.access import person, project_of
from personas import library
from personas.forms import AssetForm, UploadForm
from personas.models import Asset, AssetVersion, Persona


def asset_of(request: HttpRequest, slug: str, pk: int) -> Asset:
    """An asset of a project that this person may open; Http404 for any other."""
    rows = Asset.objects.select_related("project", "active", "draft_by")
    return get_object_or_404(rows, project=project_of(request, slug), pk=pk)


@require_safe
def index(request: HttpRequest, slug: str) -> HttpResponse:
    """All of the project, by kind."""
    project = project_of(request, slug)
    kind, query = request.GET.get("kind", ""), request.GET.get("q", "").strip()
    rows = Asset.objects.filter(project=project, archived_at__isnull="archived" not in request.GET).select_related(
        "active"
    )
    rows = rows.prefetch_related("personas")
    rows = rows.filter(kind=kind) if kind in Asset.Kind.values else rows
    rows = rows.filter(name__icontains=query) if query else rows
    context = {"project": project, "assets": rows, "kinds": Asset.Kind.choices, "kind": kind, "upload": UploadForm()}
    return render(request, "personas/asset_list.html", context)


def new(request: HttpRequest, slug: str) -> HttpResponse:
    """Make one, with an empty draft."""
    project = project_of(request, slug)
    form = AssetForm(project, request.POST or None, initial={"kind": request.GET.get("kind", "")})
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            asset = form.save()
            audit.note(person(request), "asset.created", asset)
        return redirect("personas:asset", slug, asset.pk)
    context = {"project": project, "form": form}
    return render(request, "personas/asset_new.html", context, status=422 if form.errors else 200)


@require_POST
def upload(request: HttpRequest, slug: str) -> HttpResponse:
    """A skill from a folder or an archive: a new one, or the draft of the one that has its name."""
    project = project_of(request, slug)
    form = UploadForm(request.POST, request.FILES)
    if not form.is_valid():
        for error in itertools.chain(*form.errors.values()):
            messages.error(request, str(error))
        return redirect("personas:assets", slug)
    files = form.cleaned_data["files"]
    fields = library.front_matter(files["SKILL.md"].decode(errors="replace"))
    known = AssetForm(project, {"kind": "skill", "name": fields["name"], "description": fields["description"][:200]})
    asset = Asset.objects.filter(project=project, kind=Asset.Kind.SKILL, name=fields["name"]).first()
    try:
        library.check(asset or Asset(kind=Asset.Kind.SKILL), files)
        if asset is None and not known.is_valid():
            raise ValidationError(f"The skill's name {fields['name'][:60]!r}: {known.errors['name'][0]}")
        asset = asset or known.save()
        library.save(asset, person(request), files, asset.draft_number)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("personas:assets", slug)
    messages.success(request, f"{asset} is uploaded as a draft. Publish it when it is right.")
    return redirect("personas:asset", slug, asset.pk)


@require_safe
def detail(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """The editor of one file, with the others beside it."""
    return editor(request, asset_of(request, slug, pk), request.GET.get("file", ""))


def editor(request: HttpRequest, asset: Asset, path: str, **refusal: str) -> HttpResponse:
    """The page with what is stored, and what somebody wrote that could not be saved (see `refused`)."""
    files = asset.files
    path = path if path in files else asset.main
    data = files.get(path, b"")
    binary = b"\0" in data
    context = {
        "project": asset.project, "asset": asset, "files": sorted(files | {asset.main: b""}), "path": path,
        "text": "" if binary else data.decode(errors="replace"), "binary": binary, "size": len(data),
        "versions": asset.versions.select_related("published_by"),
        "users": Persona.objects.filter(assets=asset) | Persona.objects.filter(context=asset), **refusal,
    }  # fmt: skip
    return render(request, "personas/asset_detail.html", context, status=409 if refusal else 200)


@require_POST
def save(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Save the draft of one file; what can't be saved comes back with the reason."""
    asset = asset_of(request, slug, pk)
    path, typed = request.POST.get("file", asset.main), request.POST.get("text", "").replace("\r\n", "\n")
    files = {**asset.files, path: typed.encode(errors="replace")}
    number = request.POST.get("over") or request.POST.get("number", "")
    try:
        library.save(asset, person(request), files, int(number) if number.isascii() and number.isdigit() else -1)
    except ValidationError as error:
        return refused(request, asset, path, typed=typed, error=" ".join(error.messages))
    except library.Overtaken:
        sentence = f"{asset.draft_by or 'Somebody'} saved this draft meanwhile. Yours is not saved, but still here."
        return refused(request, asset, path, typed=typed, error=sentence, began_from=number)
    if request.headers.get("HX-Request"):
        return render(request, "personas/asset_detail.html#saved", {"asset": asset, "live": True})
    return redirect(f"{reverse('personas:asset', args=[slug, pk])}?file={path}")


@require_POST
def preview(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """What the typed text looks like: Markdown as people read it, below its front matter; anything else coloured."""
    asset = asset_of(request, slug, pk)
    path, text = request.POST.get("file", asset.main), request.POST.get("text", "").replace("\r\n", "\n")
    context = {"project": asset.project, "asset": asset, "path": path}
    if path.endswith(".md"):
        context |= {"fields": library.front_matter(text).items(), "prose": markdown.rendered(library.body(text))}
    else:
        context["code"] = code.coloured(text, language="bash" if text.startswith("#!") else "", filename=path)
    part = "#preview" if request.headers.get("HX-Request") else ""
    return render(request, f"personas/asset_preview.html{part}", context)


def refused(request: HttpRequest, asset: Asset, path: str, **refusal: str) -> HttpResponse:
    """To htmx only the sentence, so that nothing typed is touched; else the page with both texts.

    `began_from` is there when somebody else saved: it stays the number of later saves, so that typing on never wipes
    out what the other wrote. Only the person does, by a button.
    """
    if request.headers.get("HX-Request"):
        theirs = asset.files.get(path, b"").decode(errors="replace")
        context = {"asset": asset, "theirs": theirs, "live": True, **refusal}
        return render(request, "personas/asset_detail.html#saved", context, status=409)
    return editor(request, asset, path, **refusal)


@require_POST
def change_files(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Add a file to a skill, from the form or uploaded, or remove one."""
    asset = asset_of(request, slug, pk)
    files, path = asset.files, request.POST.get("path", "").strip()
    if request.POST.get("remove"):
        files.pop(request.POST["remove"], None)
        path = asset.main
    elif sent := request.FILES.get("file"):
        path = path or str(sent.name)
        files[path] = sent.read(library.MOST_BYTES + 1)
    else:
        files.setdefault(path, b"")
    try:
        library.save(asset, person(request), files, asset.draft_number)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        path = asset.main
    except library.Overtaken:
        messages.error(request, "Somebody saved this draft meanwhile. Nothing was changed; try again.")
    return redirect(f"{reverse('personas:asset', args=[slug, pk])}?file={path}")


@require_POST
def publish(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Make the draft the active version."""
    asset = asset_of(request, slug, pk)
    try:
        version = library.publish(asset, person(request), request.POST.get("note", ""))
        messages.success(request, f"Version {version.number} is active. Machines made from now on get it.")
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    return redirect("personas:asset", slug, pk)


@require_POST
def archive(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Out of the lists, or back."""
    asset = asset_of(request, slug, pk)
    library.archive(asset, person(request), asset.archived_at is None)
    return redirect("personas:assets", slug)


@require_safe
def download(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """The draft, or with `?version=` a published one: a skill as an archive, the others as their file."""
    asset = asset_of(request, slug, pk)
    number = request.GET.get("version", "")
    files = version_of(asset, number).contents if number else asset.files
    if asset.kind == Asset.Kind.SKILL:
        return attachment(library.to_zip(asset.name, files), f"{asset.name}.zip", "application/zip")
    suffix = "" if asset.kind == Asset.Kind.SCRIPT else ".md"
    return attachment(files.get(asset.main, b""), f"{asset.name}{suffix}", "application/octet-stream")


def attachment(data: bytes, name: str, kind: str) -> HttpResponse:
    """A file to keep."""
    disposition = content_disposition_header(as_attachment=True, filename=name)
    return HttpResponse(data, content_type=kind, headers={"Content-Disposition": disposition or "attachment"})


def version_of(asset: Asset, number: object) -> AssetVersion:
    """One published version; Http404 for a number that there is not."""
    if not str(number).isdigit() or len(str(number)) > 9:
        raise Http404
    return get_object_or_404(asset.versions, number=int(str(number)))


@require_safe
def version(request: HttpRequest, slug: str, pk: int, number: int) -> HttpResponse:
    """What a version holds, and how it differs from the one before it or from the draft."""
    asset = asset_of(request, slug, pk)
    chosen = version_of(asset, number)
    against = request.GET.get("against", "")
    other = None if against == "draft" else asset.versions.filter(number__lt=number).first()
    old, new = (chosen, None) if against == "draft" else (other, chosen)
    context = {
        "project": asset.project, "asset": asset, "version": chosen, "other": other, "against": against,
        "changes": [(path, library.difference(*texts)) for path, *texts in library.changes(old, new, asset)],
        "files": [(path, data.decode(errors="replace")) for path, data in chosen.contents.items()],
    }  # fmt: skip
    return render(request, "personas/asset_version.html", context)


@require_POST
def restore(request: HttpRequest, slug: str, pk: int, number: int) -> HttpResponse:
    """Take an older version as the draft."""
    asset = asset_of(request, slug, pk)
    try:
        library.restore(asset, person(request), version_of(asset, number))
        messages.success(request, f"Version {number} is the draft now. Publish it to make it active.")
    except library.Overtaken:
        messages.error(request, "Somebody saved this draft meanwhile. Nothing was changed; try again.")
    return redirect("personas:asset", slug, pk)
