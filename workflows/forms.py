"""Forms of runs and workflows."""

import hashlib
from decimal import Decimal
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import IntegrityError

from codecourier.forms import Dressed
from codecourier.models import Project, User
from personas.forms import SeveralFiles
from personas.models import Persona
from sandboxes.models import CPU, MEMORY_MB, TIMEOUT_MS
from sandboxes.models.template import between

from . import pictures, runs
from .models import Run, Workflow
from .models.workflow import Configured, Publish

MINUTE_MS = 60_000


def cap() -> forms.DecimalField:
    """What a run may cost."""
    return forms.DecimalField(
        label="At most (USD)", required=False, max_digits=10, decimal_places=2,
        validators=[MinValueValidator(Decimal("0.01"), "Allowed is $0.01 or more.")],
        help_text="It stops when it has cost this much. Empty: no limit of its own.",
    )  # fmt: skip


class Configuring(Dressed, forms.BaseForm):
    """What may be left open of a machine and a model; the time is asked for in minutes."""

    cleaned_data: dict[str, Any]

    def clean_timeout_minutes(self) -> int | None:
        """Milliseconds; the refusal names the range."""
        low, high = TIMEOUT_MS
        minutes = self.cleaned_data["timeout_minutes"]
        if minutes is not None and not low <= minutes * MINUTE_MS <= high:
            raise ValidationError(f"Allowed is {low // MINUTE_MS} to {high // MINUTE_MS} minutes.")
        return minutes * MINUTE_MS if minutes else None


class RunForm(Configuring, forms.ModelForm[Run]):
    """What a run is asked, and what it does differently from its workflow."""

    prompt = forms.CharField(
        max_length=200_000, strip=False, error_messages={"required": "Write what the run should achieve."},
        widget=forms.Textarea(attrs={"rows": 7, "data-grow": True, "class": "font-monospace", "autofocus": True}),
        help_text="Every step is told this, and what the steps before it did.",
    )  # fmt: skip
    images = SeveralFiles(
        required=False, label="Reference images", help_text=f"Every agent gets them: {', '.join(pictures.KINDS)}."
    )
    designer_model = forms.CharField(label="Model", required=False, max_length=120)
    checker_model = forms.CharField(label="Checker's model", required=False, max_length=120)
    effort = forms.ChoiceField(
        label="Thinking effort", required=False, choices=[("", "As the workflow says"), *Persona.EFFORTS]
    )
    cpu = forms.IntegerField(label="CPUs", required=False, validators=between(CPU, "CPUs"))
    memory_mb = forms.IntegerField(label="Memory (MB)", required=False, validators=between(MEMORY_MB, "MB"))
    timeout_minutes = forms.IntegerField(label="Timeout (minutes)", required=False)
    publish = forms.ChoiceField(
        label="When it is completed", required=False, choices=[("", "As the workflow says"), *Publish.choices]
    )
    cap_usd = cap()
    request_key = forms.CharField(required=False, max_length=64, widget=forms.HiddenInput)

    class Meta:
        model = Run
        fields = ["prompt", "repository_url", "branch", "checker_instructions", "cap_usd", "publish"]
        labels = {"repository_url": "Repository"}
        help_texts = {
            "repository_url": "An https or ssh URL. Empty: an empty repository.",
            "branch": "Where the work starts. Empty means the repository's default branch.",
        }
        widgets = {"checker_instructions": forms.Textarea(attrs={"rows": 3, "data-grow": True})}

    def __init__(self, workflow: Workflow, *args: Any, **kwargs: Any) -> None:
        project = workflow.project
        start = {"repository_url": project.repository_url, "branch": project.default_branch}
        kwargs["initial"] = start | (kwargs.get("initial") or {})
        super().__init__(*args, **kwargs)
        self.workflow, self.project = workflow, project
        self.fields["request_key"].widget.attrs.clear()
        self.fields["images"].widget.attrs |= {"accept": ",".join(pictures.KINDS)}

    def clean_prompt(self) -> str:
        """As it was written, with line ends as agents know them."""
        return str(self.cleaned_data["prompt"]).replace("\r\n", "\n").strip("\n")

    def clean_images(self) -> Any:
        """Refuse what no agent could look at."""
        pictures.check(self.cleaned_data["images"])
        return self.cleaned_data["images"]

    def launch(self, user: User) -> Run | None:
        """The run; None with the errors at their fields when it could not be made."""
        data, key = self.cleaned_data, self.mark(user)
        overrides = {name: data[name] for name in Configured.FIELDS if data.get(name)}
        if data["timeout_minutes"]:
            overrides["timeout_ms"] = data["timeout_minutes"]
        fields = {name: data[name] for name in self.Meta.fields}
        try:
            return runs.launch(
                self.workflow, user, overrides=overrides, files=data["images"], request_key=key, **fields
            )
        except IntegrityError:
            # The other one of two at the same moment was first; without one, the fault is another.
            return Run.objects.get(project=self.project, request_key=key)
        except ValidationError as error:
            self.refuse(error)
            return None

    def refuse(self, error: ValidationError) -> None:
        """Its sentences at the fields that it names."""
        named = error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
        for name, texts in named.items():
            self.add_error(name if name in self.fields else None, texts)

    def mark(self, user: User) -> str | None:
        """The same form sent twice has the same mark; changed or sent by somebody else, another one."""
        if not self.cleaned_data["request_key"]:
            return None
        said = [f"{name}={self.data.get(name, '')}" for name in sorted(self.fields)]
        owner = [str(user.pk), str(self.workflow.pk)]
        return hashlib.sha256("\0".join([*owner, *said]).encode()).hexdigest()


def like(project: Project, number: str) -> dict[str, Any]:
    """What an earlier run was asked; empty for an unknown one."""
    past = Run.objects.filter(project=project, pk=number).first() if number.isdecimal() and len(number) < 18 else None
    return {name: getattr(past, name) for name in RunForm.Meta.fields} if past else {}
