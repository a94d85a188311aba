"""The settings tab of sandboxes: what each kind of session starts from."""

from typing import Any, cast

from django import forms
from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest
from django.template.loader import render_to_string

from codecourier import audit
from codecourier.access import person
from codecourier.forms import Dressed
from codecourier.models import Project
from personas.models import Asset, Persona

from .models import Kind, SessionConfig, Template

OFFERED = [choice for choice in Kind.choices if choice[0] != Kind.STEP]


class ConfigForm(Dressed, forms.ModelForm[SessionConfig]):
    """One kind; empty fields leave the choice to the template and the tool."""

    class Meta:
        model = SessionConfig
        fields = ["template", "persona", "context", "model", "effort", "cpu", "memory_mb", "timeout_ms", "prompt"]
        widgets = {"prompt": forms.Textarea(attrs={"rows": 4, "data-grow": True, "class": "font-monospace"})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        project, fields = self.instance.project, cast(dict[str, Any], self.fields)
        fields["template"].queryset = Template.objects.filter(active=True)
        fields["persona"].queryset = Persona.objects.kept().filter(project=project)
        fields["context"].queryset = Asset.objects.kept().filter(project=project, kind=Asset.Kind.CONTEXT)


def tab(request: HttpRequest, project: Project) -> tuple[str, int]:
    """The form of one kind, chosen by `?kind=`; (HTML, status)."""
    kind = request.GET.get("kind", "")
    kind = kind if kind in dict(OFFERED) else Kind.STANDALONE
    form = ConfigForm(request.POST or None, instance=SessionConfig.of(project, kind))
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            audit.note(person(request), "session.configured", form.save(), fields=sorted(form.changed_data))
        messages.success(request, f"Saved. {Kind(kind).label} sandboxes made from now on start from it.")
        return "", 303
    context = {"form": form, "kinds": OFFERED, "kind": kind}
    return render_to_string("sandboxes/_settings.html", context, request), 422 if form.errors else 200
