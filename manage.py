#!/usr/bin/env python
"""CodeCourier's command line: `up`, `demo`, `launch`, `db` and Django's own commands."""

import os
import sys

if sys.version_info < (3, 12):  # noqa: UP036 (it is for whoever runs it with another Python)
    sys.exit(f"CodeCourier needs Python 3.12 or newer, this is {sys.version.split()[0]}: use `uv run manage.py ...`.")

try:
    from codecourier import commandline
except ModuleNotFoundError as missing:
    sys.exit(f"{missing}. Run it as `uv run manage.py ...`, which installs what is missing.")

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "codecourier.settings")
    sys.exit(commandline.run(sys.argv))
