"""Which models each tool is offered with."""

from django.db import models


class ModelChoice(models.Model):
    """One entry of a tool's list; free text is allowed beside it."""

    tool = models.CharField(max_length=20)
    name = models.CharField("model", max_length=120, help_text="As the tool is told it.")
    label = models.CharField(max_length=120, blank=True)
    position = models.PositiveSmallIntegerField(default=0, help_text="The first active one is the tool's default.")
    active = models.BooleanField(default=True)

    class Meta:
        ordering = ["tool", "position", "id"]
        verbose_name = "model"
        constraints = [models.UniqueConstraint(fields=["tool", "name"], name="one_model_entry_each")]

    def __str__(self) -> str:
        return self.label or self.name

    @classmethod
    def offered(cls, tool: str) -> list[str]:
        """The names that a tool's lists show, its default first."""
        return list(cls.objects.filter(tool=tool, active=True).values_list("name", flat=True))
