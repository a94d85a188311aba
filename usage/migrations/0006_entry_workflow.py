"""The history of a workflow is found by its number."""

from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("codecourier", "0007_trigrams"),
        ("usage", "0005_reserved_turns"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddIndex(
            model_name="entry",
            index=models.Index(
                condition=models.Q(("run_id__isnull", False)), fields=["workflow_id", "run_id"], name="entry_workflow"
            ),
        ),
    ]
