"""What is set aside belongs to a turn."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("usage", "0004_rate_moments"),
    ]

    operations = [
        migrations.AddField(
            model_name="reservation",
            name="turn_id",
            field=models.BigIntegerField(null=True, unique=True),
        ),
    ]
