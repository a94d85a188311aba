"""Which destinations a sandbox may reach; no input or output happens here."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from .record import Network
from .settings import HostError

type Address = ipaddress.IPv4Address | ipaddress.IPv6Address
type Range = ipaddress.IPv4Network | ipaddress.IPv6Network
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class Denied(Exception):
    """Why a destination is refused, as a sentence for whoever runs in the sandbox."""


def parse_address(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None


def embedded(address: Address) -> Address:
    """The IPv4 address that an IPv6 one only wraps, else the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo[1] if address.teredo else None
    return address.ipv4_mapped or address.sixtofour or teredo or address


def is_public(address: Address) -> bool:
    """False for loopback, link-local, private, shared (CGNAT), multicast and reserved addresses."""
    real = embedded(address)
    return real.is_global and not real.is_multicast and not real.is_reserved and not real.is_unspecified


@dataclass(frozen=True)
class Opening:
    """One entry of `--allow-private`: a name or range, on one port or on all (0)."""

    name: str
    range: Range | None
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """`host`, `host:port`, `range`, `range:port`, IPv6 in brackets; raises HostError otherwise."""
        name, _, port = text.rpartition(":") if text.count(":") == 1 or "]:" in text else (text, "", "0")
        name = name.strip("[]").lower()
        if not name or not port.isdigit() or int(port) > 65535:
            raise HostError(f"--allow-private takes HOST, ADDRESS or RANGE with an optional :PORT, not {text!r}.")
        try:
            return cls(name, ipaddress.ip_network(name, strict=False), int(port))
        except ValueError:
            return cls(name, None, int(port))

    def covers(self, host: str, address: Address, port: int) -> bool:
        here = address in self.range if self.range else host == self.name
        return here and self.port in (0, port)


def name_matches(pattern: str, host: str) -> bool:
    """`*.x.y` stands for names below x.y at any depth, `*` for every name."""
    if pattern == "*":
        return True
    return host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern


def in_any(ranges: list[str], address: Address) -> bool:
    real = embedded(address)
    parsed = (ipaddress.ip_network(entry) for entry in ranges if "/" in entry)
    return any(real in entry for entry in parsed)


def is_allowed(network: Network, host: str, address: Address) -> bool:
    """Whether the sandbox's own allow list names the destination."""
    names = (entry for entry in network.allow_out if "/" not in entry)
    return in_any(network.allow_out, address) or any(name_matches(name, host) for name in names)


def judge(network: Network, openings: tuple[Opening, ...], host: str, port: int, address: Address) -> None:
    """Raise Denied unless the sandbox's rules and the host's both let it connect.

    Allow wins over deny among the sandbox's rules; neither opens a private address,
    only the deployment's `openings` do.
    """
    if not is_public(address) and not any(entry.covers(host, address, port) for entry in openings):
        raise Denied(f"{host}:{port} is a loopback, private or reserved address, which sandboxes may not reach.")
    if is_allowed(network, host, address):
        return
    if network.allow_internet is False:
        raise Denied(f"{host}:{port} is refused: this sandbox was made without internet access.")
    if in_any(network.deny_out, address):
        raise Denied(f"{host}:{port} is refused by this sandbox's network rules.")


def rule_headers(network: Network, host: str, port: int) -> dict[str, str]:
    """The headers that the sandbox's rules add to requests to a host, the last rule winning.

    Besides E2B's names and addresses a rule may be for `host:port`, so that a key for one port of this machine goes
    to no other.
    """
    rules = [*network.rules.get(host, ()), *network.rules.get(f"{host}:{port}", ())]
    return {name: value for rule in rules for name, value in rule.get("transform", {}).get("headers", {}).items()}


def require_privacy(network: Network, host: str, port: int, addresses: Iterable[Address]) -> None:
    """Raise Denied when a request in the clear would carry a key over public networks."""
    if rule_headers(network, host, port) and any(is_public(address) for address in addresses):
        raise Denied(f"Requests to {host}:{port} carry a key, which travels by https only.")


def require_endpoint(network: Network, host: str, port: int, addresses: Iterable[Address]) -> None:
    """Raise Denied unless the sandbox's rules or its allow list name the host."""
    if rule_headers(network, host, port) or any(is_allowed(network, host, address) for address in addresses):
        return
    raise Denied(f"{host}:{port} is no model endpoint of this sandbox; reach it through the proxy in https_proxy.")
