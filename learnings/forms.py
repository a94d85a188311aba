"""The words of a lesson, as people write them."""

from typing import Any

from django import forms

from codecourier.forms import Dressed
from codecourier.models import Project
from personas.roles import CHOICES

from .models import Lesson


class LessonForm(Dressed, forms.ModelForm[Lesson]):
    """All that people may change."""

    roles = forms.MultipleChoiceField(
        choices=CHOICES, required=False, widget=forms.CheckboxSelectMultiple, help_text="None chosen: every role."
    )

    class Meta:
        model = Lesson
        fields = ["trigger", "behaviour", "description", "severity", "category", "roles"]
        labels = {"trigger": "When", "behaviour": "What to do", "description": "Why"}
        widgets = {
            "trigger": forms.Textarea(attrs={"rows": 1, "data-grow": True}),
            "behaviour": forms.Textarea(attrs={"rows": 3, "data-grow": True}),
            "description": forms.Textarea(attrs={"rows": 3, "data-grow": True}),
        }

    def __init__(self, project: Project, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.instance.project = project
        del self.fields["roles"].widget.attrs["class"]
