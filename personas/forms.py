"""Forms of personas and assets."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile

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


class SeveralFiles(forms.FileField):
    """A list of all the files that were chosen; Django's own field keeps only the last one."""

    class Input(forms.FileInput):
        """The browser asks for a folder and sends every file of it."""

        allow_multiple_selected = True

    widget = Input

    def clean(self, data: Any, initial: Any = None) -> list[UploadedFile]:
        """What was sent, empty when nothing was chosen."""
        return [super(SeveralFiles, self).clean(upload, initial) for upload in data or []]


class UploadForm(Dressed, forms.Form):
    """A skill as a folder, as an archive or as its SKILL.md alone; `cleaned_data["files"]` is path to bytes.

    A multipart part's name has no folders (Django cuts them off), so the page says the `paths` beside the files.
    """

    folder = SeveralFiles(required=False, help_text="With SKILL.md at its top.")
    paths = forms.JSONField(required=False, widget=forms.HiddenInput)
    archive = forms.FileField(
        required=False,
        label="Or a file",
        widget=forms.FileInput(attrs={"accept": ".zip,.md"}),
        help_text="The folder as a zip archive, or a SKILL.md.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["folder"].widget.attrs |= {
            "webkitdirectory": True, "data-paths": "paths",
            "data-most-files": library.MOST_FILES, "data-most-bytes": library.MOST_ALL,
        }  # fmt: skip

    def clean(self) -> dict[str, Any]:
        """ValidationError unless what is uploaded is a skill."""
        cleaned = super().clean() or self.cleaned_data
        if self.errors:
            return cleaned
        if not cleaned["folder"] and not cleaned["archive"]:
            raise ValidationError("Choose a folder or a file first.")
        files = _folder(cleaned["folder"], cleaned["paths"]) if cleaned["folder"] else _archive(cleaned["archive"])
        if "SKILL.md" not in files:
            raise ValidationError("There is no SKILL.md at its top, so this is not a skill.")
        library.check_front_matter(files["SKILL.md"].decode(errors="replace"))
        return {**cleaned, "files": files}


def _folder(uploads: list[UploadedFile], paths: Any) -> Files:
    if len(uploads) > library.MOST_FILES or sum(upload.size or 0 for upload in uploads) > library.MOST_ALL:
        raise ValidationError(f"The folder has more than {library.MOST_FILES} files or {library.MOST_ALL // 2**20} MB.")
    named = isinstance(paths, list) and len(paths) == len(uploads) and all(isinstance(path, str) for path in paths)
    names = paths if named else [upload.name for upload in uploads]
    found = {name: upload.read() for name, upload in zip(names, uploads, strict=True) if library.wanted(name)}
    return library.unwrapped(found)


def _archive(upload: UploadedFile) -> Files:
    if (upload.size or 0) > UPLOAD_BYTES:
        raise ValidationError(f"Too large: at most {UPLOAD_BYTES // 2**20} MB.")
    data = upload.read()
    return {"SKILL.md": data} if str(upload.name).lower().endswith(".md") else library.from_zip(data)
