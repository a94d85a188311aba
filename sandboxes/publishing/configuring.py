"""The settings tab of work that leaves: how branches are called, and what pull requests are like."""

from typing import Any, cast

from django import forms
from django.conf import settings
from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse

from codecourier import audit
from codecourier.access import person
from codecourier.forms import Dressed
from codecourier.models import Project
from sandboxes.models import PublishingSettings
from sandboxes.models.pull import fill

from . import hooks

# What a preview is filled in with.
EXAMPLE = {
    "kind": "standalone", "id": "123", "title": "fix-the-basket", "asked": "> Fix the total of an empty basket.",
    "summary": "The total of an empty basket is 0 now; a test shows it.", "cost": "$0.42 and 6 min of machine time",
    "link": "https://courier.example.com/p/shop/sandboxes/123/",
    "footer": "---\nMade by Claude Code in CodeCourier, $0.42 and 6 min of machine time.",
}  # fmt: skip


class PublishingForm(Dressed, forms.ModelForm[PublishingSettings]):
    """All of it."""

    class Meta:
        model = PublishingSettings
        fields = ["branch_pattern", "auto", "draft", "updates", "labels", "reviewers", "body"]
        widgets = {"body": forms.Textarea(attrs={"rows": 8, "data-grow": True, "class": "font-monospace"})}


def tab(request: HttpRequest, project: Project) -> tuple[str, int]:
    """(HTML, status) of the form with a preview of what it would give."""
    # Not by way of a redirect: a message would put it into a cookie.
    secret = hooks.renew(project, person(request)) if "secret" in request.POST else ""
    form = PublishingForm(None if secret else request.POST or None, instance=PublishingSettings.of(project))
    if form.is_bound and form.is_valid() and "preview" not in request.POST:
        with transaction.atomic():
            audit.note(person(request), "publishing.changed", form.save(), fields=sorted(form.changed_data))
        messages.success(request, "Saved. Branches and pull requests made from now on follow it.")
        return "", 303
    shown = cast(dict[str, Any], form.cleaned_data if form.is_bound and form.is_valid() else {})
    read = {name: shown.get(name) or getattr(form.instance, name) for name in ("branch_pattern", "body")}
    base = settings.BASE_URL or f"{request.scheme}://{request.get_host()}"
    context = {
        "form": form, "branch": fill(read["branch_pattern"], EXAMPLE), "body": fill(read["body"], EXAMPLE),
        "hook": f"{base}{reverse('sandboxes:hook-github', args=[project.slug])}", "secret": secret,
        "title": EXAMPLE["title"].replace("-", " ").capitalize(),
    }  # fmt: skip
    return render_to_string("sandboxes/_settings_work.html", context, request), 422 if form.errors else 200
