"""What people build: ordered steps, each a persona, some of them in blocks that repeat."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinLengthValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from codecourier.models import Project
from personas.models import Persona
from personas.roles import ROLES
from sandboxes.models import CPU, MEMORY_MB, TIMEOUT_MS
from sandboxes.models.template import between

MOST_ITERATIONS, MOST_CANDIDATES, MOST_STEPS = 10, 5, 20
# The role whose answer decides whether a block repeats.
DECIDES = "checker"


class Evaluate(models.TextChoices):
    """When a finished run is scored."""

    NEVER = "never", "Never"
    REQUEST = "request", "When somebody asks"
    ALWAYS = "always", "Always"


class Publish(models.TextChoices):
    """What becomes of a finished run's branch."""

    REQUEST = "request", "Push the branch and open a pull request"
    PUSH = "push", "Push the branch"
    NOTHING = "nothing", "Keep the work here"


class Configured(models.Model):
    """A machine's and a model's configuration that may be left open; see `manifest` for what goes before what."""

    designer_model = models.CharField(max_length=120, blank=True)
    checker_model = models.CharField(max_length=120, blank=True)
    effort = models.CharField(max_length=10, blank=True, choices=Persona.EFFORTS)
    cpu = models.PositiveSmallIntegerField("CPUs", null=True, blank=True, validators=between(CPU, "CPUs"))
    memory_mb = models.PositiveIntegerField("memory (MB)", null=True, blank=True, validators=between(MEMORY_MB, "MB"))
    timeout_ms = models.PositiveIntegerField(
        "timeout (ms)", null=True, blank=True, validators=between(TIMEOUT_MS, "ms")
    )

    FIELDS: ClassVar = ("designer_model", "checker_model", "effort", "cpu", "memory_mb", "timeout_ms")

    class Meta:
        abstract = True

    @property
    def config(self) -> dict[str, Any]:
        """What is set, by name."""
        return {name: getattr(self, name) for name in self.FIELDS if getattr(self, name)}


class WorkflowQuerySet(models.QuerySet["Workflow"]):
    """Questions about workflows."""

    def kept(self) -> Self:
        """Those that are not archived."""
        return self.filter(archived_at=None)


class Workflow(Configured):
    """A named order of steps."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="workflows")
    name = models.CharField(max_length=200, validators=[MinLengthValidator(1)])
    description = models.TextField(blank=True)
    evaluate = models.CharField(
        "score", max_length=10, choices=Evaluate, default=Evaluate.REQUEST,
        help_text="An evaluator reads the finished work and scores it from 0 to 100.",
    )  # fmt: skip
    evaluator = models.ForeignKey(
        Persona, on_delete=models.SET_NULL, null=True, blank=True, related_name="+",
        help_text="Empty: the project's setting for evaluator sessions.",
    )  # fmt: skip
    publish = models.CharField("when it is completed", max_length=10, choices=Publish, default=Publish.REQUEST)
    keep_unapproved = models.BooleanField(
        "draft pull request when it is not approved", default=True,
        help_text="What the checker did not approve in the last iteration is pushed all the same, as a draft.",
    )  # fmt: skip
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(auto_now=True)
    archived_at = models.DateTimeField(null=True, blank=True)

    objects = WorkflowQuerySet.as_manager()

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["project", "name"], condition=Q(archived_at=None), name="one_workflow_of_a_name",
                violation_error_message="There is a workflow of this name already.",
            ),
            models.CheckConstraint(condition=~Q(name=""), name="workflow_has_a_name"),
        ]  # fmt: skip

    def __str__(self) -> str:
        return self.name


class Block(models.Model):
    """Consecutive steps that repeat until the checker among them passes."""

    workflow = models.ForeignKey(Workflow, on_delete=models.CASCADE, related_name="blocks")
    loop_max_iterations = models.PositiveSmallIntegerField(
        "at most", default=3,
        validators=[
            MinValueValidator(1, f"Allowed is 1 to {MOST_ITERATIONS} iterations."),
            MaxValueValidator(MOST_ITERATIONS, f"Allowed is 1 to {MOST_ITERATIONS} iterations."),
        ],
    )  # fmt: skip

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(loop_max_iterations__gte=1, loop_max_iterations__lte=MOST_ITERATIONS),
                name="block_iterations_in_range",
            )
        ]

    def __str__(self) -> str:
        return f"block of {self.workflow}, at most {self.loop_max_iterations} times"


class Step(Configured):
    """One persona's turn; `position` orders them from 0."""

    workflow = models.ForeignKey(Workflow, on_delete=models.CASCADE, related_name="steps")
    position = models.PositiveSmallIntegerField(default=0)
    block = models.ForeignKey(Block, on_delete=models.SET_NULL, null=True, blank=True, related_name="steps")
    persona = models.ForeignKey(Persona, on_delete=models.PROTECT, related_name="steps")
    name = models.CharField(max_length=80, blank=True, help_text="Empty: the persona's.")
    instructions = models.TextField(
        blank=True, help_text="What this step is told besides; for a script, the script that runs."
    )
    # Best of several: personas of the candidates, as many as there are; empty for one.
    candidates = models.JSONField(default=list, blank=True)
    judge = models.ForeignKey(Persona, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    test_script = models.TextField(blank=True, help_text="Bash that tests each candidate; the judge sees how it went.")

    class Meta:
        ordering = ["position", "id"]

    def __str__(self) -> str:
        return self.name or str(self.persona)

    @property
    def decides(self) -> bool:
        """Whether its answer is a verdict."""
        return self.persona.role == DECIDES


def check(steps: list[Step]) -> None:
    """Refuse what could not run, naming the step; ValidationError. `steps` are in their order."""
    if not steps:
        raise ValidationError("A workflow needs at least one step.")
    if len(steps) > MOST_STEPS:
        raise ValidationError(f"A workflow has at most {MOST_STEPS} steps; these are {len(steps)}.")
    for number, step in enumerate(steps, 1):
        _check_step(number, step)
    _check_blocks(steps)


def _check_step(number: int, step: Step) -> None:
    if step.persona.tool == "script" and not (step.instructions.strip() or step.persona.instructions.strip()):
        raise ValidationError(f"Step {number}, {step}: write the script that it runs.")
    if step.candidates and not 2 <= len(step.candidates) <= MOST_CANDIDATES:
        raise ValidationError(f"Step {number}, {step}: allowed are 2 to {MOST_CANDIDATES} candidates, or none.")
    if step.candidates and not ROLES[step.persona.role].writes:
        raise ValidationError(
            f"Step {number}, {step}: only a step that changes code can have candidates, and "
            f"{step.persona.kind.title} doesn't."
        )


def _check_blocks(steps: list[Step]) -> None:
    seen: list[int | None] = []
    for number, step in enumerate(steps, 1):
        if step.block_id in seen and step.block_id is not None and seen[-1] != step.block_id:
            raise ValidationError(f"Step {number}, {step}: the steps of a block follow one another.")
        seen.append(step.block_id)
    for block in {step.block_id for step in steps if step.block_id is not None}:
        inside = [step for step in steps if step.block_id == block]
        if not any(step.decides for step in inside):
            names = ", ".join(str(step) for step in inside)
            raise ValidationError(f"The block of {names} needs a checker: without a verdict nothing ends it.")
