"""From E2B's JSON to our records and back; everything a caller sends is checked here."""

import hashlib
import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .errors import Refused
from .record import Network, Record, State
from .settings import Settings

TEMPLATES = ("base", "script", "claude", "codex", "opencode", "pi")
SIZED = re.compile(r"(?P<base>.+?)-(?P<cpu>\d+)c-(?P<memory>\d+)m")
CPU_RANGE, MEMORY_RANGE = (1, 8), (128, 8192)
UNBUILT = {"volumeMounts": "volumes", "mcp": "MCP servers", "iam": "workload identity"}
DOMAIN = re.compile(
    r"(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*\.?|\*", re.IGNORECASE
)
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
HEADER_VALUE = re.compile(r"[\x21-\x7e\x80-\xff]([\t\x20-\x7e\x80-\xff]{0,8000}[\x21-\x7e\x80-\xff])?")


@dataclass(frozen=True)
class Order:
    """A checked request to create a sandbox. Seconds and MiB."""

    template: str
    cpu: int
    memory_mb: int
    timeout: int
    metadata: dict[str, str]
    envs: dict[str, str]
    network: Network
    auto_pause: bool
    auto_resume: bool
    digest: str


def read_order(body: Mapping[str, Any], settings: Settings) -> Order:
    """Raises Refused for anything the host can't do or doesn't understand."""
    for key, what in UNBUILT.items():
        if body.get(key):
            raise Refused(501, f"{what} ({key}) are not available on a local sandbox host; use the E2B cloud for them")
    if body.get("autoPauseMemory") is False:
        raise Refused(501, "pausing without memory is not available on a local sandbox host")
    template = body.get("templateID")
    metadata = strings(body, "metadata")
    cpu, memory = size_of(template, metadata, settings)
    return Order(
        template=str(template),
        cpu=cpu,
        memory_mb=memory,
        timeout=read_timeout(body, settings),
        metadata=metadata,
        envs=strings(body, "envVars"),
        network=read_network(mapping(body, "network"), body.get("allow_internet_access")),
        auto_pause=body.get("autoPause") is True,
        auto_resume=mapping(body, "autoResume").get("enabled") is True,
        digest=digest(body),
    )


def digest(body: Mapping[str, Any]) -> str:
    """What tells two creates of one idempotency key apart; a key in the network rules may be another by the second."""
    lasting = {key: value for key, value in body.items() if key != "network"}
    return hashlib.sha256(json.dumps(lasting, sort_keys=True).encode()).hexdigest()


def size_of(template: object, metadata: Mapping[str, str], settings: Settings) -> tuple[int, int]:
    """Virtual CPUs and MiB: from the name's suffix `-<cpu>c-<memory>m`, metadata winning over it."""
    base, cpu, memory = split_template(template)
    if base not in TEMPLATES:
        raise Refused(404, f"template {template!r} is unknown here; a local sandbox host has: {', '.join(TEMPLATES)}")
    chosen_cpu = metadata.get("cpu", cpu or str(settings.default_cpu))
    chosen_memory = metadata.get("memory_mb", memory or str(settings.default_memory_mb))
    return whole("cpu", chosen_cpu, *CPU_RANGE), whole("memory_mb", chosen_memory, *MEMORY_RANGE)


def split_template(template: object) -> tuple[str, str, str]:
    """Base name, cpu and memory as written; the last two empty without a suffix."""
    if not isinstance(template, str) or not template:
        raise Refused(400, "templateID is missing: name a template")
    found = SIZED.fullmatch(template)
    return (found["base"], found["cpu"], found["memory"]) if found else (template, "", "")


def whole(name: str, value: object, lowest: int, highest: int) -> int:
    """Raises Refused unless `value` is a whole number (or its decimal text) in the range."""
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    number = int(text) if re.fullmatch(r"\d{1,9}", text) else -1
    if not lowest <= number <= highest:
        raise Refused(400, f"{name} must be a whole number from {lowest} to {highest}, not {value!r}")
    return number


def read_timeout(body: Mapping[str, Any], settings: Settings) -> int:
    value = body.get("timeout")
    return whole("timeout", settings.default_timeout if value is None else value, 0, settings.longest_timeout)


def read_path(body: Mapping[str, Any], home: str) -> str:
    """A folder below the home; raises Refused 400 for any other."""
    path = body.get("path")
    if not isinstance(path, str) or not path.startswith(f"{home}/") or "\0" in path or ".." in path.split("/"):
        raise Refused(400, f"path must be a folder below {home}, not {str(path)[:200]!r}")
    return path


def read_source(body: Mapping[str, Any], settings: Settings) -> Path:
    """A folder that may be lent; raises Refused 501 for any other, and where none may be."""
    source = body.get("source")
    found = Path(source).resolve() if isinstance(source, str) and "\0" not in source else None
    root = settings.lend.resolve() if settings.lend else None
    if not found or not root or root not in found.parents or not found.is_dir():
        raise Refused(501, f"{str(source)[:200]!r} is no folder that this host may lend to a sandbox")
    return found


def mapping(body: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The object at `key`, empty when there is none; raises Refused 400 for anything else."""
    value = body.get(key) or {}
    if not isinstance(value, dict):
        raise Refused(400, f"{key} must be an object")
    return value


def strings(body: Mapping[str, Any], key: str) -> dict[str, str]:
    value = mapping(body, key)
    if not all(isinstance(text, str) for text in value.values()):
        raise Refused(400, f"{key} must be an object whose values are strings")
    return value


def read_network(body: Mapping[str, Any], allow_internet: object = None) -> Network:
    """The network settings of a create or an update; what is left out gets its default."""
    if body.get("egressProxy"):
        raise Refused(501, "a proxy for egress (egressProxy) is not available on a local sandbox host")
    chosen = body.get("allow_internet_access", allow_internet)
    return Network(
        allow_out=[destination(entry) for entry in listed(body, "allowOut")],
        deny_out=[address_range(entry) for entry in listed(body, "denyOut")],
        allow_internet=chosen if isinstance(chosen, bool) else None,
        allow_public_traffic=body.get("allowPublicTraffic") is not False,
        mask_request_host=str(body.get("maskRequestHost") or ""),
        rules={host.lower(): header_rules(host, rules) for host, rules in mapping(body, "rules").items()},
    )


def header_rules(host: str, rules: object) -> list[dict[str, Any]]:
    """What is done to requests to a host: `[{"transform": {"headers": {name: value}}}]`; raises Refused otherwise."""
    if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
        raise Refused(400, f"the rules of {host!r} must be a list of objects")
    found = [strings(mapping(rule, "transform"), "headers") for rule in rules]
    for name, value in (pair for headers in found for pair in headers.items()):
        if not HEADER_NAME.fullmatch(name) or not HEADER_VALUE.fullmatch(value):
            raise Refused(400, f"a rule of {host!r} has a header {name!r} that HTTP does not allow")
    return [{"transform": {"headers": headers}} for headers in found]


def listed(body: Mapping[str, Any], key: str) -> list[str]:
    value = body.get(key) or []
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise Refused(400, f"{key} must be a list of strings")
    return value


def address_range(entry: str) -> str:
    try:
        return str(ipaddress.ip_network(entry, strict=False))
    except ValueError:
        raise Refused(400, f"denyOut takes addresses and ranges only, not {entry!r}") from None


def destination(entry: str) -> str:
    """A range in canonical form, or a domain pattern in lower case."""
    try:
        return str(ipaddress.ip_network(entry, strict=False))
    except ValueError:
        if DOMAIN.fullmatch(entry):
            return entry.lower().rstrip(".")
    raise Refused(400, f"allowOut takes addresses, ranges and domain names, not {entry!r}")


def timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def created(record: Record, domain: str) -> dict[str, Any]:
    """The answer to create and connect."""
    return {
        "sandboxID": record.id,
        "templateID": record.template,
        "clientID": "local",
        "alias": record.template,
        "envdVersion": record.envd_version,
        "envdAccessToken": record.access_token,
        "trafficAccessToken": record.traffic_token or None,
        "domain": domain,
    }


def listed_sandbox(record: Record) -> dict[str, Any]:
    return {
        "sandboxID": record.id,
        "templateID": record.template,
        "alias": record.template,
        "clientID": "local",
        "startedAt": timestamp(record.started_at),
        "endAt": timestamp(record.end_at),
        "cpuCount": record.cpu,
        "memoryMB": record.memory_mb,
        "diskSizeMB": record.disk_mb,
        "state": "paused" if record.state is State.PAUSED else "running",
        "envdVersion": record.envd_version,
        "metadata": record.metadata,
    }


def detail(record: Record, domain: str) -> dict[str, Any]:
    """The answer to GET: what the list shows, and how to reach and what ends it."""
    paused = {"pauseMode": "full"} if record.state is State.PAUSED else {}
    return listed_sandbox(record) | paused | {
        "envdAccessToken": record.access_token,
        "domain": domain,
        "allowInternetAccess": record.network.allow_internet,
        "network": describe_network(record.network),
        "lifecycle": {"autoResume": record.auto_resume, "onTimeout": "pause" if record.auto_pause else "kill"},
    }  # fmt: skip


def describe_network(network: Network) -> dict[str, Any]:
    shown: dict[str, Any] = {"allowPublicTraffic": network.allow_public_traffic}
    optional = {
        "allowOut": network.allow_out,
        "denyOut": network.deny_out,
        "maskRequestHost": network.mask_request_host,
        "rules": network.rules,
    }
    return shown | {key: value for key, value in optional.items() if value}
