"""Small real repositories for tests."""

import subprocess
from pathlib import Path

from sandboxes.checkpoints.store import Store

WHO = ["-c", "user.name=Ann", "-c", "user.email=ann@example.com", "-c", "commit.gpgSign=false"]


def git(folder: Path, *words: str) -> str:
    """What a git command prints in that folder."""
    done = subprocess.run(["git", *WHO, "-C", str(folder), *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def make(folder: Path, **files: str) -> Path:
    """A repository with one commit on `main`; a file's name is its keyword, with `__` for a dot."""
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    write(folder, **(files or {"a__txt": "one\n"}))
    return commit(folder, "First")


def write(folder: Path, **files: str) -> None:
    """Files in it, not committed."""
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def commit(folder: Path, message: str) -> Path:
    """All that is there, as one more commit."""
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", message)
    return folder


def keep(store: Store, folder: Path, ref: str) -> str:
    """Its last commit, brought into the portal's repository as a machine's bundle is; that commit."""
    bundle = folder.parent / f"{ref.replace('/', '-')}.bundle"
    git(folder, "bundle", "create", "-q", str(bundle), "HEAD")
    head = git(folder, "rev-parse", "HEAD")
    store.take(bundle, ref, head)
    return head
