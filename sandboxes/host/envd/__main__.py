"""Entry point for `python -I /any/path/envd/__main__.py`: isolated mode leaves the package's folder off the path."""

import sys
from importlib import import_module
from pathlib import Path

# asyncio loads OpenSSL when it can; the daemon only speaks over a unix socket, and 4 MB in each of 200 sandboxes count.
sys.modules["ssl"] = None  # type: ignore[assignment]

_PACKAGE = Path(__file__).resolve().parent
sys.path.append(str(_PACKAGE.parent))

if __name__ == "__main__":
    sys.exit(import_module(f"{_PACKAGE.name}.daemon").main(sys.argv[1:]))
