"""Entry point for `python -I /any/path/envd/__main__.py`: isolated mode leaves the package's folder off the path."""

import sys
from importlib import import_module
from pathlib import Path

# asyncio and hashlib load OpenSSL when they can. The daemon speaks over a unix socket and hashes a few bytes:
# without it they do the same, and the memory counts in each of 200 sandboxes.
sys.modules["ssl"] = None  # type: ignore[assignment]
sys.modules["_hashlib"] = None  # type: ignore[assignment]

_PACKAGE = Path(__file__).resolve().parent
sys.path.append(str(_PACKAGE.parent))

if __name__ == "__main__":
    sys.exit(import_module(f"{_PACKAGE.name}.daemon").main(sys.argv[1:]))
