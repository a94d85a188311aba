"""Which keys a sandbox's agent may use. They are added outside the machine, by header rules on the provider's host.

The agent holds a placeholder. Where machines come from a provider that can't add headers, the setting
MODEL_KEYS=environment gives the keys to the agent's own process instead.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from django.conf import settings

from .agents import AGENTS, Endpoint
from .models import Sandbox

# Begins as keys do, for programs that look at that; its place is taken by the real one on the way out.
PLACEHOLDER = "sk-placeholder-codecourier-adds-the-key-outside"
VENDORS = {
    "anthropic": "https://api.anthropic.com",
    "anthropic_token": "https://api.anthropic.com",
    "openai": "https://api.openai.com/v1",
    "openrouter": "https://openrouter.ai/api/v1",
}
USUAL_PORTS = {"https": 443, "http": 80}
# What a local host says; the word comes from inside the machine, where a setup script may have changed it.
GATEWAY = re.compile(r"http://127\.0\.0\.1:\d{1,5}\Z")


@dataclass(frozen=True)
class Access:
    """A provider that an agent can use: the key (empty for servers that ask for none) and where its API answers."""

    provider: str
    key: str
    configured_url: str  # empty for the vendor's own

    @property
    def url(self) -> SplitResult:
        """Where requests go."""
        return urlsplit(self.configured_url or VENDORS[self.provider])

    @property
    def host(self) -> str:
        """Name or address, in lower case."""
        return self.url.hostname or ""

    @property
    def port(self) -> int:
        """The one in the URL, else the scheme's."""
        return self.url.port or USUAL_PORTS[self.url.scheme]

    @property
    def header(self) -> tuple[str, str]:
        """The header that carries the key."""
        if self.provider == "anthropic":
            return "x-api-key", self.key
        return "Authorization", f"Bearer {self.key}"


def accesses(sandbox: Sandbox) -> list[Access]:
    """What the sandbox's agent can use, in its order of preference."""
    found = {access.provider: access for access in _known(sandbox)}
    if "anthropic" in found and "anthropic_token" in found:
        # One host takes one of the two: the key where there is one, else the token.
        del found["anthropic_token" if found["anthropic"].key else "anthropic"]
    return list(found.values())


def _known(sandbox: Sandbox) -> Iterator[Access]:
    project = sandbox.project
    for provider in AGENTS[sandbox.tool].providers:
        key = project.key(provider)
        url = project.base_url(provider.removesuffix("_token"))
        if key or (url and provider != "anthropic_token"):
            yield Access(provider, key, url)


def endpoints(sandbox: Sandbox) -> dict[str, Endpoint]:
    """By provider, as the agent is to be given them."""
    return {access.provider: _endpoint(sandbox, access) for access in accesses(sandbox)}


def _endpoint(sandbox: Sandbox, access: Access) -> Endpoint:
    real = settings.MODEL_KEYS == "environment" and access.key
    url = access.configured_url
    if GATEWAY.match(sandbox.gateway):
        host = f"[{access.host}]" if ":" in access.host else access.host
        path = access.url.path.rstrip("/")
        url = f"{sandbox.gateway}/{access.url.scheme}/{host}:{access.port}{path}"
    return Endpoint(access.provider, url, access.key if real else PLACEHOLDER)


def network(sandbox: Sandbox, *, local: bool) -> dict[str, Any] | None:
    """E2B's network settings that let the agent reach its models with their keys; None for a tool without models.

    E2B adds headers only for hosts in `allow_out`, which closes nothing else: without `deny_out` all is allowed
    (https://e2b.dev/docs/network/internet-access). Its rules are by host; the local host takes `host:port` as well,
    so that a key for one port of this machine goes to no other. Of two keys for one header of one host the agent's
    preferred provider's is used.
    """
    if not AGENTS[sandbox.tool].providers:
        return None
    usable = accesses(sandbox)
    headers: dict[str, dict[str, str]] = {}
    for access in usable if settings.MODEL_KEYS == "egress" else ():
        if access.key:
            name, value = access.header
            headers.setdefault(_subject(access, local), {}).setdefault(name, value)
    return {
        "allow_out": sorted({access.host for access in usable}),
        "rules": {subject: [{"transform": {"headers": added}}] for subject, added in headers.items()},
    }


def _subject(access: Access, local: bool) -> str:
    usual = access.port == USUAL_PORTS[access.url.scheme]
    return access.host if usual or not local else f"{access.host}:{access.port}"
