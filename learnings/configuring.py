"""The settings tab of learnings."""

from django import forms
from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest
from django.template.loader import render_to_string

from codecourier import audit
from codecourier.access import person
from codecourier.forms import Dressed
from codecourier.models import Project

from .models import LearningSettings


class LearningForm(Dressed, forms.ModelForm[LearningSettings]):
    """All of it; persona, model and machine of the sessions are in the tab of sandboxes."""

    class Meta:
        model = LearningSettings
        fields = ["when", "tokens", "threshold", "most_chars"]


def tab(request: HttpRequest, project: Project) -> tuple[str, int]:
    """(HTML, status) of the form."""
    form = LearningForm(request.POST or None, instance=LearningSettings.of(project))
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            audit.note(person(request), "learnings.configured", form.save(), fields=sorted(form.changed_data))
        messages.success(request, "Saved. Work that ends from now on is read as you say.")
        return "", 303
    context = {"form": form, "project": project}
    return render_to_string("learnings/_settings.html", context, request), 422 if form.errors else 200
