"""GitHub's published description of its API, which the requests of the product and the answers of the server obey.

It is data of npm's package @octokit/openapi, fetched once into a folder of the test suite's own.
"""

import base64
import fcntl
import hashlib
import json
import re
import subprocess
import tarfile
from copy import deepcopy
from functools import cache, cached_property
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jsonschema_rs

from codecourier import npm

PACKAGE = "@octokit/openapi@23.0.2"
SHA512 = "pV8M7L9GY23AybNvTmo2nyjmpmnt6+2sRE/tqr0ZLQcPS4lnw7u5eZGNmwRNkBC3D7gZXbFx5AHzLUVRBXGDhg=="
MEMBER = "package/generated/api.github.com.json"


def fetch(folder: Path) -> Path:
    """The description's file; one process fetches it, the others wait for it."""
    found = folder / "api.github.com.json"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not found.exists():
            subprocess.run(
                [*npm.command(), "pack", PACKAGE, "--silent", "--ignore-scripts", "--pack-destination", str(folder)],
                cwd=folder, check=True, capture_output=True, timeout=120,
            )  # fmt: skip
            (archive,) = folder.glob("*.tgz")
            digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
            assert digest == SHA512, "npm gave another package than the one that the tests know"
            with tarfile.open(archive) as packed:
                member = packed.extractfile(MEMBER)
                assert member
                found.with_suffix(".new").write_bytes(member.read())
            found.with_suffix(".new").rename(found)
            archive.unlink()
    return found


class Contract:
    """Answers what is wrong with a request or an answer; examples to make answers from."""

    def __init__(self, found: Path) -> None:
        self.spec: dict[str, Any] = json.loads(found.read_bytes())
        self._validators: dict[str, Any] = {}

    def example(self, name: str) -> Any:
        """A copy of one of the published examples."""
        return deepcopy(self.spec["components"]["examples"][name]["value"])

    def operation(self, method: str, path: str) -> tuple[str, dict[str, Any]]:
        """The template of an address, and what the description says of the method."""
        for template, pattern in self.paths:
            if pattern.fullmatch(path) and method.lower() in self.spec["paths"][template]:
                return template, self.spec["paths"][template][method.lower()]
        raise AssertionError(f"GitHub has no {method} {path}")

    @cached_property
    def paths(self) -> list[tuple[str, re.Pattern[str]]]:
        """Templates, those with the fewest variables first."""
        ordered = sorted(self.spec["paths"], key=lambda template: template.count("{"))
        return [(template, re.compile(re.sub(r"\{\w+\}", "[^/]+", template))) for template in ordered]

    def check(self, method: str, address: str, sent: Any, status: int, answer: Any) -> None:
        """AssertionError unless the request and its answer are as GitHub describes them."""
        parts = urlsplit(address)
        template, operation = self.operation(method, parts.path)
        self.check_query(template, operation, parts.query)
        wanted = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
        if sent is not None:
            assert wanted, f"{method} {template} takes no body"
            # GitHub ignores a misspelt field in silence, and so does its description.
            unknown = set(sent) - self.names(wanted)
            assert not unknown, f"{method} {template} has no field {unknown}"
            if status < 400:
                self.validate(f"{method} {template} request", wanted, sent)
        described = self.resolved(operation["responses"].get(str(status), {}))
        schema = described.get("content", {}).get("application/json", {}).get("schema")
        if schema and answer is not None:
            self.validate(f"{method} {template} {status}", schema, answer)
        assert schema or status >= 300, f"{method} {template} never answers {status}"

    def check_query(self, template: str, operation: dict[str, Any], query: str) -> None:
        """Only parameters that there are: others are ignored by GitHub, so a filter would filter nothing."""
        known = {self.resolved(one)["name"] for one in operation.get("parameters", [])}
        assert set(parse_qs(query)) <= known, f"{template} has no parameter {set(parse_qs(query)) - known}"

    def resolved(self, node: dict[str, Any]) -> dict[str, Any]:
        """What a reference points at."""
        while "$ref" in node:
            _, *steps = node["$ref"].split("/")
            node = self.spec
            for step in steps:
                node = node[step]
        return node

    def names(self, schema: dict[str, Any]) -> set[str]:
        """The fields of a request, of any of its shapes."""
        schema = self.resolved(schema)
        found = set(schema.get("properties", {}))
        for kind in ("anyOf", "oneOf", "allOf"):
            for part in schema.get(kind, []):
                found |= self.names(part)
        return found

    def validate(self, name: str, schema: dict[str, Any], value: Any) -> None:
        """AssertionError with every fault."""
        if name not in self._validators:
            needed: dict[str, Any] = {}
            root = self.ready(schema, needed)
            self._validators[name] = jsonschema_rs.Draft7Validator(root | {"components": {"schemas": needed}})
        faults = [
            f"{'/'.join(map(str, e.instance_path))}: {e.message[:200]}"
            for e in self._validators[name].iter_errors(value)
        ]
        assert not faults, f"{name}: {faults}"

    def ready(self, node: Any, needed: dict[str, Any]) -> Any:
        """A schema of OpenAPI 3.0 as JSON Schema (`nullable` is a type there), with all that it refers to."""
        if isinstance(node, list):
            return [self.ready(one, needed) for one in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            name = node["$ref"].rpartition("/")[2]
            if name not in needed:
                needed[name] = {}
                needed[name] = self.ready(self.spec["components"]["schemas"][name], needed)
            return {"$ref": node["$ref"]}
        done = {
            key: self.ready(one, needed) for key, one in node.items() if key not in {"nullable", "example", "examples"}
        }
        return {"anyOf": [done, {"type": "null"}]} if node.get("nullable") is True else done


@cache
def contract(folder: Path) -> Contract:
    """One for each process: reading it takes a while."""
    return Contract(fetch(folder))
