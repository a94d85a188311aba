"""What sessions and cards of a project go by, beside the configuration of its sessions' machines."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from codecourier.models import Project
from workflows.models import Workflow

# As many cards as one session may bring; more are left out, and it says so.
MOST_CARDS = 100


class IssueSettings(models.Model):
    """One row a project; without one, these defaults hold."""

    project = models.OneToOneField(Project, on_delete=models.CASCADE, related_name="issue_settings")
    scope = models.TextField(
        "paths", blank=True,
        help_text="Where sessions look unless told otherwise: one path or pattern a line. Empty: everywhere.",
    )  # fmt: skip
    most = models.PositiveSmallIntegerField(
        "cards at most", default=20,
        validators=[
            MinValueValidator(1, f"Allowed is 1 to {MOST_CARDS} cards."),
            MaxValueValidator(MOST_CARDS, f"Allowed is 1 to {MOST_CARDS} cards."),
        ],
        help_text=f"Of one session, 1 to {MOST_CARDS}; the most urgent ones are kept.",
    )  # fmt: skip
    threshold = models.PositiveSmallIntegerField(
        "duplicate from (%)", default=45,
        validators=[
            MinValueValidator(10, "Allowed is 10 to 100 percent."),
            MaxValueValidator(100, "Allowed is 10 to 100 percent."),
        ],
        help_text="A new card that shares a file with a known one, and this much of title and text, is set apart.",
    )  # fmt: skip

    workflow = models.ForeignKey(
        Workflow, on_delete=models.SET_NULL, null=True, blank=True, related_name="+",
        help_text="What cards are run with unless another is chosen.",
    )  # fmt: skip
    one_request = models.BooleanField(
        "one pull request for a whole chain", default=True, help_text="Otherwise each link of a chain has its own."
    )

    class Meta:
        verbose_name = verbose_name_plural = "issue settings"

    def __str__(self) -> str:
        return f"Issues of {self.project}"

    @classmethod
    def of(cls, project: Project) -> "IssueSettings":
        """The project's row, or the defaults, not stored yet."""
        return cls.objects.filter(project=project).first() or cls(project=project)

    @property
    def paths(self) -> list[str]:
        """The scope, line by line."""
        return lines(self.scope)


def lines(text: str) -> list[str]:
    """Those that say something."""
    return [line.strip() for line in text.splitlines() if line.strip()]
