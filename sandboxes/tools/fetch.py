"""What npm is asked for, and what is done to what it brings.

Everything here was seen with npm 10 and 11 under Node 20 and 24, and with the real packages (November 2026).
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from codecourier import leash, npm

from .errors import InstallError

if TYPE_CHECKING:
    from sandboxes.agents.base import Package

# Longer than any network that one would wait for; the phase of a boot has a limit of its own.
SECONDS = 840.0
# Packages' own scripts run with these; the portal's keys are none of their business.
KEPT = ("HOME", "LANG", "TMPDIR", "TZ", "USER", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR")
KEPT_PREFIXES = ("npm_config_", "NPM_CONFIG_", "XDG_")
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")
OPTIONS = (
    "--no-audit",
    "--no-fund",
    "--no-update-notifier",
    "--loglevel=http",
    # The version is pinned: one whose `engines` asks for a newer Node runs all the same, by a program of its own.
    "--engine-strict=false",
    # Ours to run, so that it happens whatever this machine's npm is set to.
    "--ignore-scripts",
)
FULL = "the disk is full. Free a gigabyte and try again."
ADVICE = {
    ("ENOSPC", "EDQUOT"): FULL,
    ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ETIMEDOUT", "ECONNRESET", "EHOSTUNREACH", "ENETUNREACH"): (
        "the npm registry can't be reached. Go online, or set a mirror (`npm config set registry URL`)."
    ),
    ("E404", "ETARGET", "ENOVERSIONS"): (
        "the npm registry does not have this version. If it is a mirror, have it fetch the package."
    ),
    ("E401", "E403", "ENEEDAUTH"): "the npm registry refused us. Check its address and token in .npmrc.",
    ("EACCES", "EPERM", "EROFS"): "npm may not write its folders. Give them, and ~/.npm, to the user that runs this.",
}

type Say = Callable[[str], None]


def fetch(package: "Package", folder: Path, say: Say) -> None:
    """Bring the package into `folder`/node_modules, ready to run. Raises InstallError, OSError."""
    wanted = f"{package.npm}@{package.version}"
    if package.pack:
        _npm(package, folder, say, "pack", wanted)
        _unpack(folder, folder / "node_modules" / package.npm)
        return
    _npm(package, folder, say, "install", "--prefix", str(folder), "--no-save", "--no-package-lock", wanted)
    _finish(package, folder / "node_modules", say)


def environment() -> dict[str, str]:
    """For npm and for what it brings: Node's programs first on the PATH, nothing of the portal's own."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in KEPT or name.startswith(KEPT_PREFIXES) or name.lower() in PROXIES
    }
    return kept | {"PATH": f"{npm.node_folder()}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}


def _npm(package: "Package", folder: Path, say: Say, *words: str) -> None:
    try:
        command = npm.command()
    except npm.NpmError as error:
        raise InstallError(str(error)) from error
    tail = _run([*command, *words, *OPTIONS], folder, say)
    if tail is not None:
        raise InstallError(f"{package.npm} {package.version} could not be fetched: {advice(tail)}")


def advice(said: str) -> str:
    """What to do about npm's last lines."""
    for codes, text in ADVICE.items():
        if any(code in said.replace("npm error code ", "") for code in codes):
            return text
    last = [line for line in said.splitlines() if line.startswith("npm error")]
    return f"npm said: {' '.join(last)[-400:] or said[-400:] or 'nothing'}"


def _run(command: list[str], folder: Path, say: Say) -> str | None:
    """Run a program, its lines to `say`; None when it succeeded, else its last lines. It ends with this process."""
    leashed = [sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), *command]
    with subprocess.Popen(
        leashed,
        cwd=folder, env=environment(), umask=0o022, text=True, errors="replace",
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        limit = threading.Timer(SECONDS, process.kill)
        limit.start()
        try:
            tail = _hear(process, say)
        finally:
            limit.cancel()
    return "\n".join(tail) if process.returncode else None


def _hear(process: "subprocess.Popen[str]", say: Say) -> deque[str]:
    tail: deque[str] = deque(maxlen=40)
    for line in process.stdout or ():
        # Notices list every file of an archive.
        if line.strip() and not line.startswith("npm notice"):
            tail.append(line.rstrip())
            say(tail[-1])
    return tail


def _unpack(folder: Path, into: Path) -> None:
    """The files of the one archive in `folder`; every npm archive has them below one folder."""
    archive = next(folder.glob("*.tgz"))
    into.mkdir(parents=True)
    with tarfile.open(archive) as packed:
        for member in packed:
            member.name = member.name.partition("/")[2]
            if member.name:
                packed.extract(member, into, filter="data")
    archive.unlink()


def _finish(package: "Package", modules: Path, say: Say) -> None:
    """Run the package's own last step, then drop the builds that no program of ours is in.

    That step links the right build of the program (claude, opencode) into the package itself.
    """
    own = modules / package.npm
    about = json.loads((own / "package.json").read_text())
    step = about.get("scripts", {}).get("postinstall")
    if step and (tail := _run(["/bin/sh", "-c", step], own, say)) is not None:
        raise InstallError(f"{package.npm} {package.version} could not be set up: {advice(tail)}")
    programs = {path for pattern in package.programs.values() for path in modules.glob(pattern)}
    for name in about.get("optionalDependencies", {}):
        build = modules / name
        if not any(path.is_relative_to(build) for path in programs):
            shutil.rmtree(build, ignore_errors=True)
