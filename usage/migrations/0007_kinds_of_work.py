"""Sums by kind of work and quarter of an hour, and by run, in place of the sums of every combination."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from usage import rollups


def rebuild(apps, schema_editor):
    """What was recorded before is summed anew; a new installation has nothing yet."""
    if apps.get_model("usage", "Entry").objects.exists():
        rollups.rebuild()


class Migration(migrations.Migration):
    dependencies = [
        ("codecourier", "0007_trigrams"),
        ("usage", "0006_entry_workflow"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.DeleteModel(
            name="Rollup",
        ),
        migrations.CreateModel(
            name="Work",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.UUIDField(unique=True)),
                ("service", models.CharField(max_length=20)),
                ("model", models.CharField(blank=True, max_length=120)),
                ("activity", models.CharField(max_length=10)),
                ("workflow", models.CharField(blank=True, max_length=200)),
                ("persona", models.CharField(blank=True, max_length=200)),
                ("role", models.CharField(blank=True, max_length=40)),
                ("kind", models.CharField(blank=True, max_length=20)),
                ("source", models.CharField(blank=True, max_length=40)),
                (
                    "person",
                    models.ForeignKey(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "project",
                    models.ForeignKey(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="codecourier.project",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="RunSum",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.UUIDField(unique=True)),
                ("run_id", models.BigIntegerField(db_index=True)),
                ("step", models.CharField(blank=True, max_length=120)),
                ("iteration", models.IntegerField(null=True)),
                ("candidate", models.CharField(blank=True, max_length=40)),
                ("workflow", models.CharField(blank=True, max_length=200)),
                ("source", models.CharField(blank=True, max_length=40)),
                ("cost", models.DecimalField(decimal_places=15, max_digits=30)),
                ("unpriced", models.DecimalField(decimal_places=6, max_digits=20)),
                ("first_at", models.DateTimeField()),
                ("last_at", models.DateTimeField()),
                (
                    "person",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "project",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="codecourier.project",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["project", "first_at"], name="usage_runsu_project_abcfaa_idx"),
                    models.Index(fields=["first_at"], name="usage_runsu_first_a_94435b_idx"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Rollup",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slot", models.DateTimeField()),
                ("cost", models.DecimalField(decimal_places=15, max_digits=30)),
                ("input", models.BigIntegerField()),
                ("output", models.BigIntegerField()),
                ("cache_read", models.BigIntegerField()),
                ("cache_write", models.BigIntegerField()),
                ("vcpu_us", models.BigIntegerField()),
                ("gib_us", models.BigIntegerField()),
                ("unpriced_tokens", models.BigIntegerField()),
                ("unpriced_us", models.BigIntegerField()),
                (
                    "project",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="codecourier.project",
                    ),
                ),
                (
                    "work",
                    models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to="usage.work"),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["project", "slot"], name="usage_rollu_project_f563ed_idx")],
                "constraints": [models.UniqueConstraint(fields=("slot", "work"), name="one_sum_each")],
            },
        ),
        migrations.RunPython(rebuild, migrations.RunPython.noop),
    ]
