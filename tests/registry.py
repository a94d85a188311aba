"""A small npm registry of the tests' own, for the real npm."""

import base64
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from tests import serving as web


@dataclass
class Registry:
    """Its address, what it has, and which archives it was asked for."""

    url: str
    abouts: dict[str, dict[str, Any]] = field(default_factory=dict)
    archives: dict[str, bytes] = field(default_factory=dict)
    fetched: list[str] = field(default_factory=list)

    def add(self, name: str, version: str, files: Mapping[str, str], **about: Any) -> None:
        """Publish a version; files are executable."""
        manifest = {"name": name, "version": version, **about}
        data = packed({"package.json": json.dumps(manifest), **files})
        path = f"/-/{hashlib.sha256(data).hexdigest()[:16]}.tgz"
        self.archives[path] = data
        digest = base64.b64encode(hashlib.sha512(data).digest()).decode()
        manifest["dist"] = {"tarball": f"{self.url}{path}", "integrity": f"sha512-{digest}"}
        known = self.abouts.setdefault(name, {"name": name, "versions": {}})
        known["versions"][version] = manifest
        known["dist-tags"] = {"latest": version}

    def answer(self, path: str) -> bytes | None:
        """The body of a request, None for what it does not have."""
        if path in self.archives:
            self.fetched.append(path)
            return self.archives[path]
        about = self.abouts.get(unquote(path).strip("/"))
        return json.dumps(about).encode() if about else None


def packed(files: Mapping[str, str]) -> bytes:
    """An npm archive: everything below `package/`."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path, text in files.items():
            entry = tarfile.TarInfo(f"package/{path}")
            entry.size, entry.mode = len(text.encode()), 0o755
            archive.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


@contextmanager
def serving() -> Iterator[Registry]:
    """The registry, running."""
    registry = Registry("")
    with web.serving(Handler, registry=registry) as registry.url:
        yield registry


class Handler(web.Quiet):
    """Answers what npm asks to install a package."""

    def do_GET(self) -> None:
        body = self.server.registry.answer(self.path)  # type: ignore[attr-defined]
        self.send_response(200 if body is not None else 404)
        data = body if body is not None else b'{"error": "not found"}'
        self.send_header(
            "Content-Type", "application/octet-stream" if self.path.startswith("/-/") else "application/json"
        )
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
