"""The image `script` was only ever known to the local host; in the cloud, scripts run on E2B's `base`."""

from typing import Any

from django.db import migrations


def rename(apps: Any, schema_editor: Any) -> None:
    """Both hosts know `base`."""
    apps.get_model("sandboxes", "Template").objects.filter(slug="script", image="script").update(image="base")


class Migration(migrations.Migration):
    dependencies = [("sandboxes", "0004_builds")]

    operations = [migrations.RunPython(rename, migrations.RunPython.noop)]
