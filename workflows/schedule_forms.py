"""The form of a schedule, and what its rule would mean."""

from datetime import datetime
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.utils import timezone

from codecourier.forms import Dressed
from codecourier.models import Project

from .forms import cap
from .models import Schedule, Workflow


class ScheduleForm(Dressed, forms.ModelForm[Schedule]):
    """What is asked, and when."""

    cap_usd = cap()

    class Meta:
        model = Schedule
        fields = ["name", "workflow", "prompt", "checker_instructions", "repository_url", "branch", "cap_usd", "every",
                  "at", "starts_on", "cron", "zone", "overlap"]  # fmt: skip
        labels = {"repository_url": "Repository", "every": "How often"}
        help_texts = {
            "name": "What your team calls it.",
            "prompt": "What each run is asked.",
            "repository_url": "Empty: the project's own.",
            "branch": "Empty: the project's default branch.",
            "starts_on": "Days, weeks and months are counted from it.",
            "cron": "Minute, hour, day of the month, month, day of the week, as 30 9 * * MON-FRI.",
            "zone": "As Europe/Berlin. The time stays the same when clocks change.",
        }
        widgets = {
            "prompt": forms.Textarea(attrs={"rows": 5, "data-grow": True, "class": "font-monospace"}),
            "checker_instructions": forms.Textarea(attrs={"rows": 2, "data-grow": True}),
            "at": forms.TimeInput(attrs={"type": "time"}, format="%H:%M"),
            "starts_on": forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
            "zone": forms.TextInput(attrs={"list": "zones", "autocomplete": "off"}),
        }

    def __init__(self, project: Project, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.instance.project = project
        rows = Workflow.objects.filter(Q(archived_at=None) | Q(pk=self.instance.workflow_id), project=project)
        self.fields["workflow"].queryset = rows  # type: ignore[attr-defined]

    def clean_prompt(self) -> str:
        """With line ends as agents know them."""
        return str(self.cleaned_data["prompt"]).replace("\r\n", "\n").strip("\n")

    def _get_validation_exclusions(self) -> set[str]:
        # The project is no field of the form, and yet a name is unique in it.
        excluded: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]
        return excluded - {"project"}


def preview(form: ScheduleForm, now: datetime | None = None) -> dict[str, Any]:
    """What the rule of a form, as it is filled in now, means: in words with the next three times, or what is wrong."""
    values = Schedule(prompt="x")
    read = form.data.get if form.is_bound else lambda name: form[name].value()
    try:
        for name in Schedule.RULE:
            given = read(name)
            setattr(values, name, form.fields[name].clean(given if given is not None else ""))
        values.clean()
    except ValidationError as error:
        return {"wrong": " ".join(error.messages)}
    # As texts: templates would show them in UTC.
    times = [f"{moment:%a, %d %b %Y, %H:%M %Z}" for moment in values.upcoming(now or timezone.now())]
    return {"words": values.words, "times": times}
