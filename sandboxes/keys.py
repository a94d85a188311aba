"""Which keys a sandbox's agent may use, and where they are added."""

from .agents import Endpoint
from .models import Sandbox


def endpoints(sandbox: Sandbox) -> dict[str, Endpoint]:
    """By provider, as the agent is to be given them."""
    return {}
