"""Forms of a project's settings, one for each tab."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from . import remotes
from .forms import Dressed
from .github import GitHubError
from .models import Project, ProviderKey, Variable


class GeneralForm(Dressed, forms.ModelForm[Project]):
    """Name and repository; a changed address is tried before it is kept."""

    class Meta:
        model = Project
        fields = ["name", "logo", "repository_url", "default_branch"]
        labels = {"repository_url": "Repository"}
        help_texts = {
            "repository_url": "An https or ssh URL that new sandboxes clone. It is asked before it is saved.",
            "default_branch": "Empty means the branch that the repository itself names.",
        }

    def clean(self) -> dict[str, Any]:
        """Ask the repository."""
        found: dict[str, Any] = super().clean() or self.cleaned_data
        asked = {"repository_url", "default_branch"} & set(self.changed_data)
        if asked and found.get("repository_url") and not self.errors:
            url = found["repository_url"]
            try:
                credential = remotes.credential(self.instance, url)
            except GitHubError as error:
                raise ValidationError({"repository_url": str(error)}) from error
            remotes.check(url, found.get("default_branch", ""), credential)
        return found


class AgentsForm(Dressed, forms.ModelForm[Project]):
    """What every agent is told."""

    class Meta:
        model = Project
        fields = ["system_prompt", "instructions"]
        widgets = {
            name: forms.Textarea(attrs={"rows": 10, "data-grow": True, "class": "font-monospace"})
            for name in ("system_prompt", "instructions")
        }


class MachinesForm(Dressed, forms.ModelForm[Project]):
    """How machines are prepared and how their commits are signed."""

    class Meta:
        model = Project
        fields = ["setup_script", "git_name", "git_email"]
        widgets = {"setup_script": forms.Textarea(attrs={"rows": 6, "data-grow": True, "class": "font-monospace"})}


class KeyForm(Dressed, forms.Form):
    """A credential: it goes in and never comes out."""

    provider = forms.ChoiceField(choices=ProviderKey.Provider.choices)
    origin = forms.CharField(
        label="Host",
        required=False,
        max_length=300,
        help_text="For a git host other than GitHub: https://git.example.com",
    )
    secret = forms.CharField(
        label="Key",
        max_length=20_000,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}, render_value=False),
        help_text="Of a GitHub App: its ID, a space, and its private key with the BEGIN and END lines.",
    )


class VariableForm(Dressed, forms.ModelForm[Variable]):
    """One environment variable."""

    class Meta:
        model = Variable
        fields = ["name", "value", "secret"]
        widgets = {"value": forms.Textarea(attrs={"rows": 1, "data-grow": True, "class": "font-monospace"})}


class PasteForm(Dressed, forms.Form):
    """The text of a `.env` file."""

    text = forms.CharField(
        label="Paste a .env file", max_length=200_000, strip=False,
        widget=forms.Textarea(attrs={"rows": 4, "class": "font-monospace", "placeholder": "NAME=value"}),
        help_text="What looks like a credential by its name is stored as secret.",
    )  # fmt: skip
