"""Asking a git remote whether it is there and may be read, before anything is built on it."""

import os
import subprocess

from django.conf import settings
from django.core.exceptions import ValidationError

from . import repositories

SECONDS = 15
# Reads the key from the environment of this one process: it is never an argument, never a file.
HELPER = '!f() { test "$1" = get && echo username=x-access-token && echo "password=$COURIER_GIT_KEY"; }; f'


def check(url: str, branch: str = "", key: str = "") -> None:
    """ValidationError with a sentence unless the repository answers, and has the branch if one is named."""
    repositories.validate(url)
    answer = ask(url, branch, key)
    if answer.returncode:
        raise ValidationError({"repository_url": explained(answer.stderr, bool(key))})
    if branch and not answer.stdout.strip():
        raise ValidationError({"default_branch": f"The repository has no branch {branch}."})


def ask(url: str, branch: str, key: str) -> "subprocess.CompletedProcess[str]":
    """`git ls-remote`, without any configuration of this machine's and without asking anybody anything."""
    options = ["-c", "credential.helper=", *(["-c", f"credential.helper={HELPER}"] if key else [])]
    protocols = "https:ssh:http:file" if settings.ALLOW_LOCAL_REPOSITORIES else "https:ssh"
    env = {
        "PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": protocols, "GIT_SSH_COMMAND": "ssh -oBatchMode=yes -oConnectTimeout=10", "LC_ALL": "C",
        "COURIER_GIT_KEY": key,
    }  # fmt: skip
    words = ["git", *options, "ls-remote", "--heads", "--", url, *([f"refs/heads/{branch}"] if branch else [])]
    try:
        return subprocess.run(
            words, env=env, capture_output=True, text=True, errors="replace", timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(words, 1, "", "timed out")


def explained(said: str, with_key: bool) -> str:
    """What git's complaint means for the person who typed the address."""
    low = said.lower()
    if "timed out" in low:
        return f"The repository did not answer within {SECONDS} seconds. Check the address."
    if any(sign in low for sign in ("authentication failed", "could not read username", "403", "401")):
        return (
            "The repository refused the project's key: it may lack the right to read it." if with_key
            else "The repository is private. Store a key for it first, then save the address."
        )  # fmt: skip
    if "not found" in low or "does not appear to be a git repository" in low or "does not exist" in low:
        return "There is no repository at this address, or the key may not see it."
    if "could not resolve" in low:
        return "The address names a host that does not exist."
    return "The repository could not be read. Check the address, and the key if it is private."
