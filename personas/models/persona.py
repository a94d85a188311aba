"""A named, reusable configuration of an agent."""

from __future__ import annotations

from typing import ClassVar, Self

from django.db import models
from django.utils import timezone

from codecourier.models import Project
from personas.roles import CHOICES, ROLES, Role

from .asset import Asset


class PersonaQuerySet(models.QuerySet["Persona"]):
    """Questions about personas."""

    def kept(self) -> Self:
        """Those that are not archived."""
        return self.filter(archived_at=None)


class Persona(models.Model):
    """Role, tool, model, effort and what the agent is told and given."""

    EFFORTS: ClassVar = [("low", "Low"), ("medium", "Medium"), ("high", "High"), ("max", "Max")]

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="personas")
    name = models.CharField(max_length=80)
    role = models.CharField(max_length=20, choices=CHOICES, default="designer")
    tool = models.CharField(max_length=20, default="claude")
    model = models.CharField(max_length=120, blank=True, help_text="Empty: the tool's default.")
    effort = models.CharField(max_length=10, blank=True, choices=EFFORTS)
    instructions = models.TextField(blank=True, help_text="Markdown that its agent reads before anything else.")
    context = models.ForeignKey(
        Asset, on_delete=models.SET_NULL, null=True, blank=True, related_name="+",
        limit_choices_to={"kind": Asset.Kind.CONTEXT},
    )  # fmt: skip
    assets = models.ManyToManyField(
        Asset, blank=True, related_name="personas", verbose_name="skills, commands and scripts"
    )
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(auto_now=True)
    archived_at = models.DateTimeField(null=True, blank=True)

    objects = PersonaQuerySet.as_manager()

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["project", "name"], condition=models.Q(archived_at=None), name="one_persona_of_a_name",
                violation_error_message="There is a persona of this name already.",
            ),
            models.CheckConstraint(condition=models.Q(role__in=list(ROLES)), name="known_persona_role"),
        ]  # fmt: skip

    def __str__(self) -> str:
        return self.name

    @property
    def kind(self) -> Role:
        """What its role means."""
        return ROLES[self.role]
