"""Becomes bubblewrap for one sandbox: run as `python -I -S launch.py SPEC.json`.

A process of its own, because what it does (joining cgroups, a private mount
namespace, giving up root) must never happen inside the host. Standard library
only and few imports: it stands in the path of every cold start.

As root it first makes a mount namespace of its own. The disk image is mounted in
there, so the mount and its loop device vanish with the sandbox's last process,
and every folder the sandbox may see is bound below one staging folder, because
the sandbox's uid cannot pass through, say, root's home. Without root the folders
are used where they are. `@name` in the command stands for such a folder.
"""

# pathlib would take longer to import than all the rest of this file.
# ruff: noqa: PTH102, PTH112, PTH116, PTH118, PTH123

import ctypes
import json
import os
import sys

CLONE_NEWNS = 0x00020000
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 4096, 16384, 1 << 18
PR_SET_NO_NEW_PRIVS = 38
STAGES = ("/mnt", "/srv", "/media", "/opt")

libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> None:
    """Raise OSError with the C library's errno when `result` is not 0."""
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    done = libc.mount(source.encode(), target.encode(), kind.encode(), flags, data.encode())
    check(done, f"mount {source} on {target}")


def join_cgroups(folders: list[str]) -> None:
    for folder in folders:
        with open(os.path.join(folder, "cgroup.procs"), "w") as procs:
            procs.write(str(os.getpid()))


def staging_folder() -> str:
    """A folder of the host that every uid can pass through.

    Raises OSError when there is none.
    """
    for path in STAGES:
        if os.path.isdir(path) and os.stat(path).st_mode & 0o001:
            return path
    raise OSError(f"none of {', '.join(STAGES)} is a folder that every user may enter")


def mount_disk(image: str, at: str, uid: int) -> str:
    """Mount the ext4 image; return the folder in it that becomes the home."""
    options = "loop,noinit_itable,nosuid,nodev"
    pid = os.posix_spawnp("mount", ["mount", "-t", "ext4", "-o", options, image, at], os.environ)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0:
        raise OSError(f"the disk image {image} cannot be mounted")
    home = os.path.join(at, "home")
    if not os.path.isdir(home):
        os.mkdir(home, 0o755)
        os.chown(home, uid, uid)
    return home


def stage(sources: dict[str, str], image: str, at: str, uid: int) -> dict[str, str]:
    """Bind each source below a fresh staging folder, in a mount namespace of our own."""
    check(libc.unshare(CLONE_NEWNS), "unshare")
    mount("none", "/", "", MS_REC | MS_PRIVATE)
    if image:
        sources["home"] = mount_disk(image, at, uid)
    handles = {name: os.open(path, os.O_PATH) for name, path in sources.items()}
    root = staging_folder()
    mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=1m")
    staged = {}
    for name, handle in handles.items():
        staged[name] = os.path.join(root, name)
        os.mkdir(staged[name], 0o755)
        mount(f"/proc/self/fd/{handle}", staged[name], "", MS_BIND | MS_REC)
        os.close(handle)
    return staged


def become(uid: int) -> None:
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def main(path: str) -> None:
    with open(path) as file:
        spec = json.load(file)
    os.setsid()
    join_cgroups(spec["cgroups"])
    folders = dict(spec["sources"])
    if spec["uid"]:
        folders = stage(folders, spec["image"], spec["mountpoint"], spec["uid"])
        become(spec["uid"])
    check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    command = []
    for word in spec["command"]:
        name, slash, rest = word[1:].partition("/")
        command.append(folders[name] + slash + rest if word.startswith("@") else word)
    seccomp = os.memfd_create("seccomp", 0)
    os.write(seccomp, bytes.fromhex(spec["seccomp"]))
    os.lseek(seccomp, 0, os.SEEK_SET)
    command[1:1] = ["--seccomp", str(seccomp)]
    os.execve(command[0], command, {"PATH": "/usr/bin:/bin"})  # noqa: S606


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except OSError as error:
        sys.exit(f"sandbox not started: {error}")
