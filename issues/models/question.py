"""What a session did not know: questions it asks, and assumptions it made, until a person has decided."""

from __future__ import annotations

from typing import ClassVar, Self

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from codecourier.lifecycle import Lifecycle
from codecourier.models import Project

from .card import Issue
from .session import IssueSession


class QuestionQuerySet(models.QuerySet["Question"]):
    """Questions about questions."""

    def undecided(self) -> Self:
        """Those that wait for a person."""
        return self.filter(status__in=Question.UNDECIDED)

    def open(self) -> Self:
        """Those without an answer."""
        return self.filter(status=Question.Status.OPEN)


class Question(Lifecycle):
    """One question, or one assumption, which is its own answer."""

    class Kind(models.TextChoices):
        """An assumption comes with an answer."""

        QUESTION = "question", "Question"
        ASSUMPTION = "assumption", "Assumption"

    class Status(models.TextChoices):
        """Only what is approved reaches a run."""

        OPEN = "open", "Open"
        ANSWERED = "answered", "Answered"
        APPROVED = "approved", "Approved"
        REJECTED = "rejected", "Rejected"

    EDGES: ClassVar = {
        Status.OPEN: frozenset({Status.ANSWERED, Status.APPROVED, Status.REJECTED}),
        Status.ANSWERED: frozenset({Status.APPROVED, Status.REJECTED, Status.OPEN}),
        Status.APPROVED: frozenset({Status.OPEN, Status.REJECTED}),
        Status.REJECTED: frozenset({Status.OPEN, Status.APPROVED}),
    }
    UNDECIDED: ClassVar = (Status.OPEN, Status.ANSWERED)

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="questions")
    kind = models.CharField(max_length=10, choices=Kind, default=Kind.QUESTION)
    session = models.ForeignKey(
        IssueSession, on_delete=models.SET_NULL, null=True, blank=True, related_name="questions"
    )
    # The cards that it is about; none: all of its session.
    issues = models.ManyToManyField(Issue, blank=True, related_name="questions")
    text = models.TextField()
    why = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    answer = models.TextField(blank=True)
    confidence = models.FloatField(null=True, blank=True, validators=[MinValueValidator(0), MaxValueValidator(1)])
    # Where it shows: [{"file", "line"}].
    evidence = models.JSONField(default=list, blank=True)
    answered_in = models.ForeignKey(
        IssueSession, on_delete=models.SET_NULL, null=True, blank=True, related_name="answers"
    )
    # The person who approved, rejected or answered it last.
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )

    objects = QuestionQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["project", "status", "-id"])]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=["open", "answered", "approved", "rejected"]), name="question_known_status"
            ),
            models.CheckConstraint(
                condition=Q(confidence=None) | Q(confidence__gte=0, confidence__lte=1), name="question_confidence"
            ),
            models.CheckConstraint(
                condition=~Q(status__in=["answered", "approved"]) | ~Q(answer=""), name="question_has_its_answer"
            ),
        ]

    def __str__(self) -> str:
        return self.text[:120]

    def topics(self) -> list[str]:
        """Counted and listed in its project, and shown on its session's page."""
        return [f"project:{self.project_id}", f"issue-session:{self.session_id}"]
