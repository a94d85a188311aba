"""Lessons are compared by when and what to do: why it is known differs between two that say the same."""

import django.contrib.postgres.fields
import django.core.validators
import django.db.models.functions.text
from django.db import migrations, models

import codecourier.likeness


class Migration(migrations.Migration):
    dependencies = [("learnings", "0002_versions_never_change")]

    operations = [
        migrations.RemoveField("lesson", "trigrams"),
        migrations.AddField(
            "lesson",
            "trigrams",
            models.GeneratedField(
                db_persist=True,
                expression=codecourier.likeness.Trigrams(
                    django.db.models.functions.text.Concat(
                        "trigger", models.Value(" ", output_field=models.TextField()), "behaviour"
                    )
                ),
                output_field=django.contrib.postgres.fields.ArrayField(base_field=models.TextField()),
            ),
        ),
        migrations.AlterField(
            "learningsettings",
            "threshold",
            models.PositiveSmallIntegerField(
                default=35,
                help_text="A lesson that says when and what to do in words so much like another's is proposed for merging.",
                validators=[
                    django.core.validators.MinValueValidator(10, "Allowed is 10 to 100 percent."),
                    django.core.validators.MaxValueValidator(100, "Allowed is 10 to 100 percent."),
                ],
                verbose_name="alike from (%)",
            ),
        ),
    ]
