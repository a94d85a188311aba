"""The agents' programs on this machine: fetched from npm once, at the pinned version, each into a folder of its own.

<root>/<tool>-<version>/node_modules   what npm brought
<root>/<tool>-<version>/bin/<program>  what is called
<root>/.<tool>-<version>.*             lock, log, unfinished installation, the sentence of the last failure

The local sandbox host mounts the root read-only in every sandbox, at `MOUNTED`.
"""

from .background import Progress, progress
from .errors import InstallError
from .install import MOUNTED, Place, install

__all__ = ["MOUNTED", "InstallError", "Place", "Progress", "install", "progress"]
