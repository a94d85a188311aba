"""Forms of personas and assets."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from codecourier.forms import Dressed
from codecourier.models import Project

from . import library
from .models import Asset, ModelChoice, Persona
from .models.asset import Files
from .roles import ROLES

TOOLS = {"claude": "Claude Code", "codex": "Codex", "opencode": "OpenCode", "pi": "Pi", "script": "Script"}
UPLOAD_BYTES = 8 * 1024 * 1024


class PersonaForm(Dressed, forms.ModelForm[Persona]):
    """Everything of a persona; its role preselects what is left open."""

    tool = forms.ChoiceField(choices=list(TOOLS.items()))

    class Meta:
        model = Persona
        fields = ["name", "role", "tool", "model", "effort", "instructions", "context", "assets"]
        widgets = {
            "instructions": forms.Textarea(attrs={"rows": 14, "data-grow": True, "class": "font-monospace"}),
            "model": forms.TextInput(attrs={"list": "models", "autocomplete": "off"}),
            "assets": forms.CheckboxSelectMultiple,
        }

    def __init__(self, project: Project, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.instance.project = project
        kept = Asset.objects.kept().filter(project=project)
        self.fields["context"].queryset = kept.filter(kind=Asset.Kind.CONTEXT)  # type: ignore[attr-defined]
        self.fields["assets"].queryset = kept.exclude(kind=Asset.Kind.CONTEXT)  # type: ignore[attr-defined]
        del self.fields["assets"].widget.attrs["class"]

    @property
    def models(self) -> list[ModelChoice]:
        """What the tools are offered with."""
        return list(ModelChoice.objects.filter(active=True))

    def _get_validation_exclusions(self) -> set[str]:
        # The project is no field of the form, and yet a name is unique in it.
        excluded: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]
        return excluded - {"project", "archived_at"}


def preset(role: str) -> dict[str, str]:
    """What a role brings to an empty form."""
    found = ROLES.get(role)
    return {"role": found.key, "tool": found.tool, "name": found.title} if found else {}


class AssetForm(Dressed, forms.ModelForm[Asset]):
    """A new asset: kind and name; its text comes in the editor."""

    class Meta:
        model = Asset
        fields = ["kind", "name", "description"]

    def __init__(self, project: Project, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.instance.project = project

    def _get_validation_exclusions(self) -> set[str]:
        excluded: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]
        return excluded - {"project"}


class UploadForm(Dressed, forms.Form):
    """A skill as a zip archive, or as the files of a folder."""

    archive = forms.FileField(widget=forms.FileInput(attrs={"accept": ".zip,.md"}), label="Zip archive or SKILL.md")

    def clean_archive(self) -> Files:
        """Path to bytes; what is uploaded must be a skill."""
        upload = self.cleaned_data["archive"]
        if upload.size > UPLOAD_BYTES:
            raise ValidationError(f"Too large: at most {UPLOAD_BYTES // 2**20} MB.")
        data = upload.read()
        files = {"SKILL.md": data} if upload.name.lower().endswith(".md") else library.from_zip(data)
        if "SKILL.md" not in files:
            raise ValidationError("There is no SKILL.md at the top of the archive, so this is not a skill.")
        library.check_front_matter(files["SKILL.md"].decode(errors="replace"))
        return files
