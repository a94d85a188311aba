"""A price changes at a moment, not on a day: what was the last day ends when the next one begins."""

import django.contrib.postgres.constraints
import django.contrib.postgres.fields.ranges
from django.db import migrations, models

import usage.models.rate


class Migration(migrations.Migration):
    dependencies = [("usage", "0003_append_only")]

    operations = [
        migrations.RemoveConstraint(model_name="rate", name="rate_one_at_a_time"),
        migrations.RemoveConstraint(model_name="rate", name="rate_ends_after_it_begins"),
        migrations.AlterField(
            model_name="rate",
            name="valid_from",
            field=models.DateTimeField(help_text="In UTC, on a quarter of an hour."),
        ),
        migrations.AlterField(
            model_name="rate",
            name="valid_until",
            field=models.DateTimeField(
                blank=True,
                help_text="When it ends, in UTC, on a quarter of an hour; empty while it is valid.",
                null=True,
            ),
        ),
        migrations.RunSQL(
            "UPDATE usage_rate SET valid_until = valid_until + interval '1 day'",
            "UPDATE usage_rate SET valid_until = valid_until - interval '1 day'",
        ),
        migrations.AddConstraint(
            model_name="rate",
            constraint=models.CheckConstraint(
                condition=models.Q(("valid_until", None), ("valid_until__gt", models.F("valid_from")), _connector="OR"),
                name="rate_ends_after_it_begins",
            ),
        ),
        migrations.AddConstraint(
            model_name="rate",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("valid_from", usage.models.rate.Quarter("valid_from")),
                    models.Q(
                        ("valid_until", None),
                        ("valid_until", usage.models.rate.Quarter("valid_until")),
                        _connector="OR",
                    ),
                ),
                name="rate_changes_on_a_quarter",
                violation_error_message="A price changes on a quarter of an hour: at :00, :15, :30 or :45.",
            ),
        ),
        migrations.AddConstraint(
            model_name="rate",
            constraint=django.contrib.postgres.constraints.ExclusionConstraint(
                expressions=[
                    (
                        models.Func(
                            usage.models.rate.Kind(models.F("service"), models.F("model"), models.F("metric")),
                            usage.models.rate.Kind(models.F("service"), models.F("model"), models.F("metric")),
                            models.Value("[]"),
                            function="numrange",
                            output_field=django.contrib.postgres.fields.ranges.DecimalRangeField(),
                        ),
                        "&&",
                    ),
                    (
                        models.Func(
                            "valid_from",
                            "valid_until",
                            models.Value("[)"),
                            function="tstzrange",
                            output_field=django.contrib.postgres.fields.ranges.DateTimeRangeField(),
                        ),
                        "&&",
                    ),
                ],
                name="rate_one_at_a_time",
                violation_error_message="Another rate of this service, model and metric is valid for some of this "
                "time. End that one first.",
            ),
        ),
    ]
