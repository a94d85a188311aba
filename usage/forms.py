"""Setting budgets."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from codecourier.forms import Dressed
from codecourier.models import Project, User

from .models import Budget

B = Budget.Scope


class BudgetForm(Dressed, forms.ModelForm[Budget]):
    """A new budget: of a project's page for it or its runs, of the organisation's for anybody."""

    class Meta:
        model = Budget
        fields = ["scope", "project", "person", "amount"]
        labels = {"scope": "For", "amount": "USD"}

    def __init__(self, project: Project | None, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.project = project
        choice = self.fields["scope"]
        assert isinstance(choice, forms.ChoiceField)  # noqa: S101 - it has choices
        offered = [B.PROJECT, B.RUN] if project else [B.ORGANISATION, B.PROJECT, B.PERSON, B.RUN]
        choice.choices = [(scope.value, scope.label) for scope in offered]
        if project:
            del self.fields["project"], self.fields["person"]
        else:
            self.fields["project"].help_text = "Only for a project or its runs."
            self.fields["person"].help_text = "Only for a person."
            people = self.fields["person"]
            assert isinstance(people, forms.ModelChoiceField)  # noqa: S101 - it is a foreign key
            people.queryset = User.objects.filter(is_active=True).order_by("name", "email")

    def clean(self) -> dict[str, Any]:
        """What belongs to the scope is there, and nothing else."""
        found: dict[str, Any] = super().clean() or self.cleaned_data
        scope = found.get("scope")
        if self.project:
            self.instance.project = self.project
            if Budget.objects.filter(scope=scope, project=self.project).exists():
                self.add_error("scope", ValidationError("There is such a budget already. Change that one."))
            return found
        for name, scopes in (("project", {B.PROJECT, B.RUN}), ("person", {B.PERSON})):
            if scope in scopes and not found.get(name):
                self.add_error(name, ValidationError(f"Choose the {name} that it is for."))
            elif scope not in scopes:
                found[name] = None
        return found


class AmountForm(Dressed, forms.ModelForm[Budget]):
    """Another amount."""

    class Meta:
        model = Budget
        fields = ["amount"]
