"""The settings tab of issues: what both kinds of session start from, and what cards and chains go by."""

from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest
from django.template.loader import render_to_string

from codecourier import audit
from codecourier.access import person
from codecourier.models import Project
from sandboxes.configuring import ConfigForm

from . import sessions
from .forms import SettingsForm
from .models import IssueSession, IssueSettings

SCAN = IssueSession.Kind.SCAN


def tab(request: HttpRequest, project: Project) -> tuple[str, int]:
    """The forms of one kind, chosen by `?kind=`; (HTML, status)."""
    kind = request.GET.get("kind", "")
    kind = kind if kind in IssueSession.Kind.values else SCAN
    config = ConfigForm(request.POST or None, instance=sessions.config_of(project, kind))
    own = SettingsForm(request.POST or None, instance=IssueSettings.of(project)) if kind == SCAN else None
    valid = [form.is_valid() for form in (config, own) if form]
    if request.method == "POST" and all(valid):
        save(request, config, own)
        messages.success(request, "Saved. Sessions that are started from now on follow it.")
        return "", 303
    context: dict[str, Any] = {"config": config, "own": own, "kinds": IssueSession.Kind.choices, "kind": kind}
    return render_to_string("issues/_settings.html", context, request), 200 if all(valid) or not request.POST else 422


def save(request: HttpRequest, config: ConfigForm, own: SettingsForm | None) -> None:
    """Both, and who did it."""
    with transaction.atomic():
        audit.note(person(request), "session.configured", config.save(), fields=sorted(config.changed_data))
        if own:
            audit.note(person(request), "issues.configured", own.save(), fields=sorted(own.changed_data))
