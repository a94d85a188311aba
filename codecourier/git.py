"""Calling git on the portal's own machine: none of its configuration, no questions, no key in view."""

import os
import subprocess
import tempfile
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from django.conf import settings

# Reads the key from the environment of this one process: it is never an argument, never a file. The courier passes on
# all that does not begin with COURIER_.
HELPER = '!f() { test "$1" = get && echo "username=$CODECOURIER_GIT_USER" && echo "password=$CODECOURIER_GIT_KEY"; }; f'
# Slips of old programs that many histories have; what could harm a reader is refused (git help fsck).
FORGIVEN = (
    "zeroPaddedFilemode", "badTimezone", "missingSpaceBeforeDate", "missingSpaceBeforeEmail", "badDate",
    "badDateOverflow", "missingEmail", "badName", "missingNameBeforeEmail", "fullPathname", "extraHeaderEntry",
)  # fmt: skip
# Shown of what git said.
TAIL = 2000
CHUNK = 64 * 1024


@dataclass(frozen=True)
class Credential:
    """A key, and the one place it is shown to: scheme, host and port of a remote."""

    origin: str
    secret: str = field(repr=False)

    @property
    def options(self) -> list[str]:
        """Settings of one git command. No other host is answered, wherever a remote redirects to."""
        return ["-c", "credential.helper=", "-c", f"credential.{self.origin}.helper={HELPER}"]

    @property
    def env(self) -> dict[str, str]:
        """The environment of that command: `user:password`, or a token as GitHub takes it."""
        user, colon, password = self.secret.partition(":")
        user, password = (user, password) if colon else ("x-access-token", self.secret)
        return {"CODECOURIER_GIT_USER": user, "CODECOURIER_GIT_KEY": password}


class GitError(Exception):
    """git did not do it; `said` is the end of what it printed, `late` whether its time was up."""

    def __init__(self, what: str, said: str, *, late: bool = False) -> None:
        super().__init__(f"{what}: {_point(said)}")
        self.said, self.late = said, late


def _point(said: str) -> str:
    lines = said.strip().splitlines() or ["git did not say why"]
    return next((line for line in lines if line.startswith("error:")), lines[-1])


def run(
    words: Sequence[str | Path],
    *,
    at: Path | None = None,
    credential: Credential | None = None,
    seconds: float = 60,
    given: bytes | BinaryIO = b"",
    ends: Container[int] = (0,),
) -> bytes:
    """What a git command prints; GitError when it fails or takes longer.

    `at` is the repository; `credential` is what a remote is shown, `given` goes to stdin, `ends` are the exit codes of
    an answer.
    """
    place = ["-C", str(at)] if at else []
    command = ["git", *place, "-c", "safe.directory=*", *(credential.options if credential else ()), *map(str, words)]
    env = environment() | (credential.env if credential else {})
    try:
        source: Any = {"input": given} if isinstance(given, bytes) else {"stdin": given}
        done: subprocess.CompletedProcess[bytes] = subprocess.run(
            command, env=env, capture_output=True, timeout=seconds, check=False, **source
        )
    except subprocess.TimeoutExpired as error:
        raise GitError(f"git {words[0]}", f"it took longer than {seconds:.0f} seconds", late=True) from error
    if done.returncode not in ends:
        raise GitError(f"git {words[0]}", done.stderr.decode(errors="replace")[-TAIL:])
    return done.stdout


def lines(words: Sequence[str | Path], *, at: Path, given: bytes = b"") -> Iterator[bytes]:
    """What a command prints, line by line as it comes, without their ends; GitError at the end when it failed."""
    with _printing(words, at, given) as printed:
        for line in printed:
            yield line.rstrip(b"\n")


def chunks(words: Sequence[str | Path], *, at: Path) -> Iterator[bytes]:
    """The same for what has no lines, in pieces of at most CHUNK bytes."""
    with _printing(words, at, b"") as printed:
        while piece := printed.read(CHUNK):
            yield piece


@contextmanager
def _printing(words: Sequence[str | Path], at: Path, given: bytes) -> Iterator[IO[bytes]]:
    """A command's output while it runs; whoever stops reading ends it."""
    command = ["git", "-C", str(at), "-c", "safe.directory=*", *map(str, words)]
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as said:
        source.write(given)
        source.seek(0)
        with subprocess.Popen(
            command, env=environment(), stdin=source, stdout=subprocess.PIPE, stderr=said
        ) as process:  # fmt: skip
            try:
                yield cast(IO[bytes], process.stdout)
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            said.seek(0)
            raise GitError(f"git {words[0]}", said.read()[-TAIL:].decode(errors="replace"))


def environment() -> dict[str, str]:
    """All that git gets of ours."""
    protocols = "https:ssh:http:file" if settings.ALLOW_LOCAL_REPOSITORIES else "https:ssh"
    return {
        "PATH": os.environ["PATH"], "HOME": "/nonexistent", "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": protocols,
        "GIT_SSH_COMMAND": "ssh -oBatchMode=yes -oConnectTimeout=10",
    }  # fmt: skip
