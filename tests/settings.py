"""The product's settings on the tests' own state folder and database server."""

import os

from tests import clock, embedded_postgres

clock.install()

os.environ["DATABASE_URL"] = embedded_postgres.url()
os.environ["STATE"] = os.environ.get("TEST_STATE") or str(embedded_postgres.STATE)
# As `manage.py tools` installs them by default: the tests run the real programs.
os.environ.setdefault("TOOLS", str(embedded_postgres.STATE.parent / "tools"))
for name in ("BASE_URL", "CODECOURIER_E2B_API_KEY"):
    os.environ.pop(name, None)

from codecourier.settings import *  # noqa: E402, F403

DATABASES["default"]["ENGINE"] = "tests.database"  # noqa: F405
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
WHITENOISE_USE_FINDERS = False
STATICFILES_DIRS = []
