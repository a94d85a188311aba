"""Forms of cards, sessions, chains and settings."""

import hashlib
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from codecourier.forms import Dressed
from codecourier.models import Project, User
from sandboxes.turns import NotPossible
from workflows.models import Run, Workflow

from . import cards, scan, work
from . import chain as chains
from .models import Chain, Issue, IssueSession, IssueSettings
from .models.card import MOST_FILES, MOST_LABELS
from .models.chain import MOST_LINKS
from .models.settings import MOST_CARDS, lines

TEXT = {"data-grow": True, "class": "font-monospace"}


def mark(form: forms.Form, project: Project, user: User) -> str | None:
    """The same form sent twice has the same mark; changed or sent by somebody else, another one."""
    if not form.cleaned_data.get("request_key"):
        return None
    said = [f"{name}={form.data.getlist(name)}" for name in sorted(form.fields)]  # type: ignore[attr-defined]
    return hashlib.sha256("\0".join([str(user.pk), str(project.pk), *said]).encode()).hexdigest()


class IssueForm(Dressed, forms.ModelForm[Issue]):
    """What a card says."""

    files = forms.CharField(  # type: ignore[assignment]
        required=False, widget=forms.Textarea(attrs={"rows": 2, **TEXT}), help_text="One path a line."
    )
    labels = forms.CharField(required=False, help_text="Separated by commas.")

    class Meta:
        model = Issue
        fields = ["title", "priority", "description", "suggested_prompt", "files", "labels"]
        widgets = {
            "description": forms.Textarea(attrs={"rows": 7, **TEXT}),
            "suggested_prompt": forms.Textarea(attrs={"rows": 4, **TEXT}),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["files"] = "\n".join(self.instance.files)
        self.initial["labels"] = ", ".join(self.instance.labels)

    def clean_files(self) -> list[str]:
        """Paths, each once."""
        return listed(lines(self.cleaned_data["files"]), MOST_FILES, 300, "files")

    def clean_labels(self) -> list[str]:
        """Words, each once."""
        parts = [part.strip() for part in self.cleaned_data["labels"].split(",")]
        return listed([part for part in parts if part], MOST_LABELS, 40, "labels")

    def _post_clean(self) -> None:
        """Left to the verbs, which see the card as it was."""

    def store(self, project: Project, user: User) -> Issue | None:
        """The card, made or changed; None with the errors at their fields."""
        try:
            if self.instance.pk is None:
                return cards.create(project, user, **self.cleaned_data)
            cards.edit(self.instance, user, **self.cleaned_data)
            return self.instance
        except ValidationError as error:
            refuse(self, error)
            return None


def listed(values: list[str], most: int, longest: int, word: str) -> list[str]:
    """Bounded in number and length; ValidationError says by how much."""
    found = list(dict.fromkeys(values))
    if len(found) > most:
        raise ValidationError(f"At most {most} {word}; these are {len(found)}.")
    if long := next((value for value in found if len(value) > longest), ""):
        raise ValidationError(f"{long[:40]}… is longer than {longest} characters.")
    return found


def refuse(form: forms.BaseForm, error: ValidationError) -> None:
    """Put a refusal at its field, or above all of them."""
    if not hasattr(error, "error_dict"):
        form.add_error(None, error)
        return
    for name, texts in error.message_dict.items():
        form.add_error(name if name in form.fields else None, texts)


class SessionForm(Dressed, forms.Form):
    """A session that looks for issues."""

    prompt = forms.CharField(
        max_length=100_000, widget=forms.Textarea(attrs={"rows": 9, **TEXT}), label="What to look for",
        help_text="The project's text, yours to change for this session.",
    )  # fmt: skip
    scope = forms.CharField(
        required=False, label="Paths", widget=forms.Textarea(attrs={"rows": 3, **TEXT}),
        help_text="Where to look, one path or pattern a line. Empty: everywhere.",
    )  # fmt: skip
    most = forms.IntegerField(
        min_value=1,
        max_value=MOST_CARDS,
        label="Cards at most",
        help_text=f"1 to {MOST_CARDS}; the most urgent are kept.",
    )
    request_key = forms.CharField(required=False, max_length=64, widget=forms.HiddenInput)

    def launch(self, project: Project, user: User) -> IssueSession | None:
        """The session; None with the errors at their fields when it could not be started."""
        said = self.cleaned_data
        try:
            return scan.launch(
                project, user, prompt=said["prompt"].replace("\r\n", "\n"), scope=lines(said["scope"]),
                most=said["most"], request_key=mark(self, project, user),
            )  # fmt: skip
        except ValidationError as error:
            refuse(self, error)
            return None


class WorkflowField(Dressed, forms.Form):
    """A choice among the project's workflows."""

    workflow = forms.ModelChoiceField(Workflow.objects.none(), empty_label=None)

    def __init__(self, project: Project, *args: Any, **kwargs: Any) -> None:
        chosen = IssueSettings.of(project)
        kwargs["initial"] = {"workflow": chosen.workflow_id, "one_request": chosen.one_request} | (
            kwargs.get("initial") or {}
        )
        super().__init__(*args, **kwargs)
        self.project = project
        self.fields["workflow"].queryset = Workflow.objects.kept().filter(project=project)  # type: ignore[attr-defined]


class RunForm(WorkflowField):
    """How a card is done."""

    prompt = forms.CharField(
        max_length=200_000, strip=False, widget=forms.Textarea(attrs={"rows": 6, **TEXT}),
        help_text="Approved answers about this card are told besides.",
    )  # fmt: skip
    branch = forms.CharField(
        required=False, max_length=200, label="Start from branch", help_text="Empty: the project's default branch."
    )
    request_key = forms.CharField(required=False, max_length=64, widget=forms.HiddenInput)

    field_order = ["prompt", "workflow", "branch", "request_key"]

    def launch(self, issue: Issue, user: User) -> Run | None:
        """The run; None with the errors at their fields when it could not be started."""
        said = self.cleaned_data
        try:
            return work.run(
                issue, user, said["workflow"], prompt=said["prompt"].replace("\r\n", "\n"), branch=said["branch"],
                request_key=mark(self, issue.project, user),
            )  # fmt: skip
        except NotPossible as error:
            self.add_error(None, str(error))
        except ValidationError as error:
            refuse(self, error)
        return None


class ChainForm(WorkflowField):
    """What both kinds of chain are asked."""

    title = forms.CharField(required=False, max_length=200, help_text="Empty: made from what it is about.")
    one_request = forms.BooleanField(
        required=False, label="One pull request for all links", help_text="Otherwise each link gets its own."
    )
    request_key = forms.CharField(required=False, max_length=64, widget=forms.HiddenInput)

    def options(self, user: User) -> dict[str, Any]:
        """For the launch."""
        return {
            "title": self.cleaned_data["title"], "one_request": self.cleaned_data["one_request"],
            "request_key": mark(self, self.project, user),
        }  # fmt: skip

    def launch(self, user: User) -> Chain | None:
        """The chain; None with the errors at their fields."""
        try:
            return self.made(user)
        except ValidationError as error:
            refuse(self, error)
            return None

    def made(self, user: User) -> Chain:
        """By kind."""
        raise NotImplementedError


class WorkChainForm(ChainForm):
    """Chosen cards, in the order in which they are sent."""

    issue = forms.ModelMultipleChoiceField(
        Issue.objects.none(), error_messages={"required": "Choose at least one card that is not being worked on."}
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        startable = [Issue.Status.NEW, Issue.Status.FAILED]
        rows = Issue.objects.cards().filter(project=self.project, status__in=startable)
        self.fields["issue"].queryset = rows  # type: ignore[attr-defined]

    def made(self, user: User) -> Chain:
        """In the order of the form, not of the database."""
        by_number = {str(issue.pk): issue for issue in self.cleaned_data["issue"]}
        order = [by_number[number] for number in dict.fromkeys(self.data.getlist("issue")) if number in by_number]  # type: ignore[attr-defined]
        return chains.of_issues(self.project, user, self.cleaned_data["workflow"], order, **self.options(user))


class SprintForm(ChainForm):
    """One goal, so many passes."""

    goal = forms.CharField(
        max_length=100_000, widget=forms.Textarea(attrs={"rows": 6, **TEXT}),
        help_text="Every pass is told this, and that it goes on from the ones before.",
    )  # fmt: skip
    times = forms.IntegerField(
        min_value=1, max_value=MOST_LINKS, initial=3, label="Passes", help_text=f"1 to {MOST_LINKS}, one after another."
    )

    field_order = ["goal", "times", "workflow", "title", "one_request", "request_key"]

    def made(self, user: User) -> Chain:
        """As many links as passes."""
        said = self.cleaned_data
        return chains.of_goal(self.project, user, said["workflow"], said["goal"], said["times"], **self.options(user))


class SettingsForm(Dressed, forms.ModelForm[IssueSettings]):
    """What sessions and cards go by."""

    class Meta:
        model = IssueSettings
        fields = ["scope", "most", "threshold", "workflow", "one_request"]
        widgets = {"scope": forms.Textarea(attrs={"rows": 3, **TEXT})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        rows = Workflow.objects.kept().filter(project=self.instance.project)
        self.fields["workflow"].queryset = rows  # type: ignore[attr-defined]
