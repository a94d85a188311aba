"""Files of a running machine: to look at, to take, to bring."""

import secrets
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_POST, require_safe

from codecourier import code
from sandboxes import e2b, files
from sandboxes.models import Sandbox

from .pages import sandbox_of

FAULTS = (files.Refused, e2b.ProviderError)
# Nothing of a machine's file may run, whatever a browser takes it for.
INERT = {
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "private, no-store",
}


@require_safe
def browse(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """A folder or a file: as a page, for htmx only its part, and with `part=tree` one branch of the tree."""
    sandbox = sandbox_of(request, slug, pk)
    path, hidden = request.GET.get("path", ""), "hidden" in request.GET
    context = frame(sandbox, path, hidden)
    try:
        context |= shown(files.look(sandbox, path, hidden=hidden))
    except FAULTS as error:
        context |= {"problem": str(error), "asleep": sandbox.status == Sandbox.Status.PAUSED}
    if request.GET.get("part") == "tree":
        return render(request, "sandboxes/_files_tree.html", context)
    whole = not request.headers.get("HX-Request")
    return render(request, f"sandboxes/{'sandbox_files' if whole else '_files_view'}.html", context)


def frame(sandbox: Sandbox, path: str, hidden: bool) -> dict[str, Any]:
    """What every view of files shows: where it is and what leads there."""
    parts = PurePosixPath(path.strip("/")).parts
    crumbs = [(part, "/".join(parts[: number + 1])) for number, part in enumerate(parts)]
    return {
        "sandbox": sandbox,
        "project": sandbox.project,
        "path": "/".join(parts),
        "above": "/".join(parts[:-1]),
        "crumbs": crumbs,
        "hidden": hidden,
        "most_bytes": settings.UPLOAD_BYTES,
        "slice_bytes": files.SLICE_BYTES,
    }


def shown(found: files.Folder | files.File) -> dict[str, Any]:
    """A folder, or a file with its text in colours."""
    if isinstance(found, files.Folder):
        return {"folder": found}
    if not found.regular or found.image or found.binary:
        return {"file": found}
    text = found.text
    numbers = "\n".join(str(number) for number in range(1, max(1, len(text.splitlines())) + 1))
    return {"file": found, "html": code.coloured(text, filename=found.name), "numbers": numbers}


def back(sandbox: Sandbox, path: str) -> HttpResponse:
    """To the page of a folder."""
    address = reverse("sandboxes:files", args=[sandbox.project.slug, sandbox.pk])
    return redirect(f"{address}?{urlencode({'path': path})}" if path else address)


@require_safe
def raw(request: HttpRequest, slug: str, pk: int) -> HttpResponseBase:
    """A file's bytes: an image to be shown, anything else only to be saved."""
    sandbox, path = sandbox_of(request, slug, pk), request.GET.get("path", "")
    try:
        found = files.take(sandbox, path)
    except FAULTS as error:
        return missing(request, sandbox, path, str(error))
    image = found.image if "show" in request.GET else ""
    kind = image or files.content_type(found)
    disposition = content_disposition_header(not image, found.name) or "attachment"
    return send(sandbox, found.real, kind, disposition)


@require_safe
def folder_zip(request: HttpRequest, slug: str, pk: int) -> HttpResponseBase:
    """A folder, packed in the machine."""
    sandbox, path = sandbox_of(request, slug, pk), request.GET.get("path", "")
    try:
        packed = files.pack(sandbox, path)
    except FAULTS as error:
        return missing(request, sandbox, path, str(error))
    name = PurePosixPath(path.strip("/")).name or f"sandbox-{sandbox.pk}"
    disposition = content_disposition_header(True, f"{name}.zip") or "attachment"
    return send(sandbox, packed, "application/zip", disposition, once=True)


def send(sandbox: Sandbox, real: str, kind: str, disposition: str, *, once: bool = False) -> StreamingHttpResponse:
    """A piece at a time, never as a whole in memory."""
    headers = {**INERT, "Content-Disposition": disposition}
    return StreamingHttpResponse(files.stream(sandbox, real, once=once), content_type=kind, headers=headers)


def missing(request: HttpRequest, sandbox: Sandbox, path: str, problem: str) -> HttpResponse:
    """The page with the sentence that says why there is nothing to send."""
    context = {**frame(sandbox, path, False), "problem": problem, "asleep": sandbox.status == Sandbox.Status.PAUSED}
    return render(request, "sandboxes/sandbox_files.html", context, status=409)


@require_POST
def upload(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Files of a form, or with `name` in the query one slice of one file as the body, answered in plain text.

    Slices get 204 when taken, 200 with a question when there is such a file already, 422 with the sentence why not.
    """
    sandbox, folder = sandbox_of(request, slug, pk), request.GET.get("path", "")
    if "name" in request.GET:
        return sliced(request, sandbox, folder)
    for file in request.FILES.getlist("files"):
        if problem := whole(sandbox, folder, file):
            messages.error(request, problem)
    if not request.FILES:
        messages.error(request, "Choose one or more files first.")
    return back(sandbox, folder)


def whole(sandbox: Sandbox, folder: str, file: Any) -> str:
    """Bring one file of a form; empty, or the sentence why it wasn't brought."""
    mark, offset = secrets.token_hex(16), 0
    try:
        for piece in file.chunks(files.SLICE_BYTES) if file.size else [b""]:
            last = offset + len(piece) >= file.size
            how = {"upload": mark, "offset": offset, "last": last, "replace": False}
            if not files.put(sandbox, folder, file.name, piece, **how):
                return f"There is a file {file.name} already."
            offset += len(piece)
    except FAULTS as error:
        return f"{file.name}: {error}"
    return ""


def sliced(request: HttpRequest, sandbox: Sandbox, folder: str) -> HttpResponse:
    """One slice, as static/js/files.js sends it."""
    words = request.GET
    offset = words.get("offset", "")
    if not (offset.isascii() and offset.isdigit() and len(offset) < 16):
        return HttpResponse("The upload says no proper place. Reload the page.", status=422, content_type="text/plain")
    piece = request.read(files.SLICE_BYTES + 1)
    if len(piece) > files.SLICE_BYTES:
        return HttpResponse("This slice is too large. Reload the page.", status=422, content_type="text/plain")
    how: dict[str, Any] = {"upload": words.get("upload", ""), "offset": int(offset)}
    how |= {"last": "last" in words, "replace": "replace" in words}
    try:
        done = files.put(sandbox, folder, words["name"], piece, **how)
    except FAULTS as error:
        return HttpResponse(str(error), status=422, content_type="text/plain")
    return HttpResponse(status=204) if done else HttpResponse("Replace it?", content_type="text/plain")


@require_POST
def rename(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Another name in the same folder."""
    sandbox = sandbox_of(request, slug, pk)
    path, name = request.POST.get("path", ""), request.POST.get("name", "")
    return attempt(request, sandbox, path, lambda: files.rename(sandbox, path, name))


@require_POST
def remove(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Remove a file or a folder."""
    sandbox, path = sandbox_of(request, slug, pk), request.POST.get("path", "")
    return attempt(request, sandbox, path, lambda: files.remove(sandbox, path))


def attempt(request: HttpRequest, sandbox: Sandbox, path: str, act: Callable[[], object]) -> HttpResponse:
    """Do it, then show the folder it was in, with the sentence why it couldn't be done."""
    try:
        act()
    except FAULTS as error:
        messages.error(request, str(error))
    return back(sandbox, path.strip("/").rpartition("/")[0])
