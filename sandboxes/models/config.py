"""What new sandboxes of a project start from, kind by kind."""

from typing import Any

from django.db import models

from codecourier.models import Project
from personas.models import Asset, Persona

from .sandbox import Kind
from .template import CPU, MEMORY_MB, TIMEOUT_MS, Template, between


class SessionConfig(models.Model):
    """One kind's persona, context, model and machine; what is empty is the template's or the tool's own default."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="session_configs")
    kind = models.CharField(max_length=20, choices=Kind)
    template = models.ForeignKey(Template, on_delete=models.SET_NULL, null=True, blank=True)
    persona = models.ForeignKey(Persona, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    context = models.ForeignKey(
        Asset, on_delete=models.SET_NULL, null=True, blank=True, related_name="+", limit_choices_to={"kind": "context"}
    )
    model = models.CharField(max_length=120, blank=True)
    effort = models.CharField(max_length=10, blank=True, choices=Persona.EFFORTS)
    cpu = models.PositiveSmallIntegerField("CPUs", null=True, blank=True, validators=between(CPU, "CPUs"))
    memory_mb = models.PositiveIntegerField("memory (MB)", null=True, blank=True, validators=between(MEMORY_MB, "MB"))
    timeout_ms = models.PositiveIntegerField(
        "timeout (ms)", null=True, blank=True, validators=between(TIMEOUT_MS, "ms")
    )
    prompt = models.TextField(blank=True, help_text="What such a session is asked; empty for the stock text.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "kind"], name="one_config_each")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} of {self.project}"

    @classmethod
    def of(cls, project: Project, kind: str) -> "SessionConfig":
        """The row of a kind, or an empty one that is not stored yet."""
        rows = cls.objects.select_related("template", "persona", "context")
        return rows.filter(project=project, kind=kind).first() or cls(project=project, kind=kind)

    @property
    def machine(self) -> dict[str, Any]:
        """What is set of the machine and the model, by the names of a sandbox's fields."""
        fields = {
            "cpu": self.cpu, "memory_mb": self.memory_mb, "timeout_ms": self.timeout_ms,
            "designer_model": self.model, "effort": self.effort,
        }  # fmt: skip
        return {name: value for name, value in fields.items() if value}
