"""What is cached for an hour has a price of its own."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("usage", "0007_kinds_of_work"),
    ]

    operations = [
        migrations.AlterField(
            model_name="entry",
            name="metric",
            field=models.CharField(
                choices=[
                    ("input", "Input tokens"),
                    ("output", "Output tokens"),
                    ("cache_read", "Cache reads"),
                    ("cache_write", "Cache writes"),
                    ("cache_write_1h", "Cache writes for an hour"),
                    ("vcpu_seconds", "vCPU seconds"),
                    ("gib_seconds", "GiB seconds"),
                ],
                max_length=20,
            ),
        ),
        migrations.AlterField(
            model_name="rate",
            name="metric",
            field=models.CharField(
                choices=[
                    ("input", "Input tokens"),
                    ("output", "Output tokens"),
                    ("cache_read", "Cache reads"),
                    ("cache_write", "Cache writes"),
                    ("cache_write_1h", "Cache writes for an hour"),
                    ("vcpu_seconds", "vCPU seconds"),
                    ("gib_seconds", "GiB seconds"),
                ],
                max_length=20,
            ),
        ),
    ]
