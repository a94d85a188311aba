"""What things cost."""

from datetime import datetime
from decimal import Decimal
from typing import ClassVar

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import DateTimeRangeField, DecimalRangeField, RangeOperators
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import DateTimeField, DecimalField, F, Func, Q, Value

MILLION = 1_000_000


class Kind(Func):
    """What a rate is for, as a number: PostgreSQL's own index for ranges can't compare texts."""

    function = "hashtextextended"
    template = "(%(function)s(%(expressions)s, 0))::numeric"
    arg_joiner = " || '/' || "
    output_field: ClassVar = DecimalField(max_digits=20, decimal_places=0)


class Quarter(Func):
    """The quarter of an hour that a moment lies in, by when it began."""

    function = "date_bin"
    template = "%(function)s('15 minutes'::interval, %(expressions)s, TIMESTAMPTZ '2000-01-01 00:00+00')"
    output_field: ClassVar = DateTimeField()


def same_kind() -> Func:
    """A range of that one number."""
    kind = Kind(F("service"), F("model"), F("metric"))
    return Func(kind, kind, Value("[]"), function="numrange", output_field=DecimalRangeField())


class Rate(models.Model):
    """The price of one metric of a service in USD: of a million tokens, or of a second of machine time.

    A price that changes is a new row, valid from the moment at which the old one ends. That is on a quarter of an hour:
    the ledger cuts machine time there, so that no piece of it has two prices.
    """

    class Service(models.TextChoices):
        """Who is paid."""

        ANTHROPIC = "anthropic", "Anthropic"
        OPENAI = "openai", "OpenAI"
        OPENROUTER = "openrouter", "OpenRouter"
        E2B = "e2b", "E2B"
        LOCAL = "local", "This machine"

    class Metric(models.TextChoices):
        """What is counted."""

        INPUT = "input", "Input tokens"
        OUTPUT = "output", "Output tokens"
        CACHE_READ = "cache_read", "Cache reads"
        CACHE_WRITE = "cache_write", "Cache writes"
        CACHE_WRITE_1H = "cache_write_1h", "Cache writes for an hour"
        VCPU_SECONDS = "vcpu_seconds", "vCPU seconds"
        GIB_SECONDS = "gib_seconds", "GiB seconds"

    PER_SECOND: ClassVar = (Metric.VCPU_SECONDS, Metric.GIB_SECONDS)

    service = models.CharField(max_length=20, choices=Service)
    model = models.CharField(max_length=120, blank=True, help_text="As the vendor calls it; empty for machine time.")
    metric = models.CharField(max_length=20, choices=Metric)
    price = models.DecimalField(
        "price (USD)",
        max_digits=16,
        decimal_places=9,
        validators=[MinValueValidator(0)],
        help_text="For a million tokens, or for one second of machine time.",
    )
    valid_from = models.DateTimeField(help_text="In UTC, on a quarter of an hour.")
    valid_until = models.DateTimeField(
        null=True, blank=True, help_text="When it ends, in UTC, on a quarter of an hour; empty while it is valid."
    )
    source = models.CharField(max_length=300, blank=True, help_text="Where the price is published, and what it omits.")

    class Meta:
        ordering = ["service", "model", "metric", "-valid_from"]
        constraints = [
            models.CheckConstraint(condition=Q(price__gte=0), name="rate_not_negative"),
            models.CheckConstraint(
                condition=Q(valid_until=None) | Q(valid_until__gt=F("valid_from")), name="rate_ends_after_it_begins"
            ),
            models.CheckConstraint(
                condition=Q(valid_from=Quarter("valid_from"))
                & (Q(valid_until=None) | Q(valid_until=Quarter("valid_until"))),
                name="rate_changes_on_a_quarter",
                violation_error_message="A price changes on a quarter of an hour: at :00, :15, :30 or :45.",
            ),
            ExclusionConstraint(
                name="rate_one_at_a_time",
                expressions=[
                    (same_kind(), RangeOperators.OVERLAPS),
                    (
                        Func(
                            "valid_from",
                            "valid_until",
                            Value("[)"),
                            function="tstzrange",
                            output_field=DateTimeRangeField(),
                        ),
                        RangeOperators.OVERLAPS,
                    ),
                ],
                violation_error_message="Another rate of this service, model and metric is valid for some of this "
                "time. End that one first.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.service} {self.model or 'machines'} {self.metric}"

    def clean(self) -> None:
        """Spaces around a model's name would keep it from ever being found."""
        self.model = self.model.strip()
        if self.valid_until and self.valid_from and self.valid_until <= self.valid_from:
            raise ValidationError({"valid_until": "It ends before it begins."})

    def holds(self, at: datetime) -> bool:
        """Whether it is valid at that moment."""
        return self.valid_from <= at and (self.valid_until is None or at < self.valid_until)

    @property
    def per_unit(self) -> Decimal:
        """USD of one token or second: exact, in at most 15 places."""
        return self.price / self.unit

    @property
    def unit(self) -> int:
        """How many of what is counted the price is for."""
        return 1 if self.metric in self.PER_SECOND else MILLION

    @property
    def per(self) -> str:
        """The unit in words."""
        return "second" if self.metric in self.PER_SECOND else "million"
