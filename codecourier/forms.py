"""A person's profile, and a new project."""

from typing import Any

from django import forms
from django.db import transaction
from django.utils.text import slugify

from . import audit, registries
from .models import Membership, Project, User


class Dressed(forms.BaseForm):
    """Fields that look like Tabler's, and tell a screen reader what helps and what is wrong."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            kind = "form-select" if isinstance(field, forms.ChoiceField) else "form-control"
            kind = "form-check-input" if isinstance(field, forms.BooleanField) else kind
            attrs = field.widget.attrs
            attrs["class"] = f"{kind} {attrs.get('class', '')}".strip()
            if field.help_text:
                attrs["aria-describedby"] = f"help-{self.add_prefix(name)}"


class ProfileForm(Dressed, forms.ModelForm[User]):
    """What others see of a person."""

    class Meta:
        model = User
        fields = ["name"]
        help_texts = {"name": "Shown beside what you do; empty means your e-mail address."}


class ProjectForm(Dressed, forms.ModelForm[Project]):
    """A new project: its name is enough."""

    class Meta:
        model = Project
        fields = ["name", "repository_url", "default_branch"]
        labels = {"repository_url": "Repository", "default_branch": "Default branch"}
        help_texts = {
            "name": "What your team calls it; its address is made from it.",
            "repository_url": "An https or ssh URL that new sandboxes clone. Optional.",
            "default_branch": "Empty means the branch that the repository itself names.",
        }

    def create(self, user: User) -> Project:
        """The project, owned by its maker."""
        project: Project = self.save(commit=False)
        project.slug = free_slug(project.name)
        with transaction.atomic():
            project.save()
            Membership.objects.create(project=project, user=user, role=Membership.Role.OWNER)
            for welcome in registries.newcomers:
                welcome(project)
            audit.note(user, "project.created", project)
        return project


def free_slug(name: str) -> str:
    """A slug that no project has yet."""
    base = slugify(name)[:50] or "project"
    taken = set(Project.objects.filter(slug__startswith=base).values_list("slug", flat=True))
    candidates = [base, *(f"{base}-{number}" for number in range(2, len(taken) + 3))]
    return next(slug for slug in candidates if slug not in taken)
