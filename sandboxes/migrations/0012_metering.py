"""Turns keep their labels, orphans their size."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("sandboxes", "0011_answers"),
    ]

    operations = [
        migrations.AddField(
            model_name="orphan",
            name="cpu",
            field=models.PositiveSmallIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="orphan",
            name="memory_mb",
            field=models.PositiveIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="turn",
            name="labels",
            field=models.JSONField(blank=True, default=dict),
        ),
    ]
