"""`python -m sandboxes.tools ROOT TOOL PACKAGE` installs one tool; PACKAGE is `agents.base.Package` in JSON.

Needs no Django, which would take longer to start than npm. Exit status 1 with a sentence when it can't be done.
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from .errors import InstallError
from .install import Place, install

if TYPE_CHECKING:
    from sandboxes.agents.base import Package


def main(root: str, tool: str, package: str) -> int:
    """Install, its lines on stdout as they come."""
    given = cast("Package", SimpleNamespace(**json.loads(package)))
    try:
        install(Place(Path(root), tool, given), lambda line: print(line, flush=True))  # noqa: T201
    except InstallError as error:
        print(error)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
