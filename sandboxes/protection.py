"""A clone that may be read and not changed: for sessions that look at a repository and answer.

Neither modes nor owners are enough: the folder above is the user's, who could put a copy in its place. So the folder
becomes a read-only mount, by somebody who is out of reach of what runs inside: in the cloud the machine's root, on the
local host the host itself (`sandboxes.host.protect`).
"""

from . import e2b, jobs
from .models import Sandbox

WHAT = "make the clone read-only"
SECONDS = 60
# A cloud machine's user may become root by programs that run as their owner: that ends here as well.
AS_ROOT = f"""
set -e
find / -xdev -type f -perm /6000 -exec chmod ug-s {{}} +
mountpoint -q {jobs.PROJECT} || mount --bind {jobs.PROJECT} {jobs.PROJECT}
mount -o remount,bind,ro {jobs.PROJECT}
"""


def protect(sandbox: Sandbox) -> None:
    """From now on nothing in the machine changes the clone; once more does no harm."""
    provider, machine = e2b.provider_of(sandbox.project), e2b.machine_of(sandbox)
    if provider.name == e2b.LOCAL:
        e2b.ask_host(provider, machine.id, "protect", {"path": jobs.PROJECT}, WHAT)
    else:
        machine.run_as_root(AS_ROOT, WHAT, seconds=SECONDS)
