"""Secrets in what is about to be pushed: the project's own values exactly, and keys that look like keys.

Every commit is looked at, not only the last state: what was added and removed again is pushed as well.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from codecourier import git
from codecourier.redact import Redactor
from sandboxes.checkpoints.store import Store

# Shown of one push; the first is enough to stop it.
MOST = 50
LONGEST_LINE = 20_000
# Formats that their vendors document; each is long enough not to be met by chance.
PATTERNS: Mapping[str, str] = {
    "AWS access key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "Anthropic key": r"\bsk-ant-[a-z0-9]+-[A-Za-z0-9_-]{40,}",
    "GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{60,})\b",
    "GitLab token": r"\bglpat-[A-Za-z0-9_-]{20,}",
    "Google API key": r"\bAIza[0-9A-Za-z_-]{35}\b",
    "OpenAI key": r"\bsk-(?:proj-|svcacct-)?[A-Za-z0-9_-]{20,}T3BlbkFJ[A-Za-z0-9_-]{20,}",
    "OpenRouter key": r"\bsk-or-v1-[0-9a-f]{64}\b",
    "E2B key": r"\be2b_[0-9a-f]{40}\b",
    "npm token": r"\bnpm_[A-Za-z0-9]{36}\b",
    "PyPI token": r"\bpypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{50,}",
    "Slack token": r"\bxox[abprs]-[0-9A-Za-z-]{20,}",
    "Stripe key": r"\b[rs]k_live_[0-9A-Za-z]{24,}\b",
    "private key": r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----",
}
KNOWN = re.compile("|".join(f"(?P<k{number}>{pattern})" for number, pattern in enumerate(PATTERNS.values())))
NAMES = list(PATTERNS)
HUNK = re.compile(r"@@ -\d+(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")


@dataclass(frozen=True)
class Finding:
    """Something that looks like a secret: where, and what kind. `mark` names it without telling it."""

    commit: str
    path: str
    line: int
    kind: str
    mark: str

    def to_json(self) -> dict[str, Any]:
        """For the row."""
        return asdict(self)


def findings(store: Store, commit: str, known: Iterable[str], secrets: Mapping[str, str]) -> list[Finding]:
    """What is in the commits that a remote lacks which has `known`; at most MOST."""
    nots = "".join(f"^{other}\n" for other in known)
    words = (
        "-c", "core.quotePath=false", "log", "--stdin", "-p", "--diff-merges=remerge", "--no-ext-diff", "--no-textconv",
        "--no-color", "--no-renames", "--unified=0", "--format=commit %H",
    )  # fmt: skip
    lines = git.lines(words, at=store.path, given=f"{commit}\n{nots}".encode())
    found: dict[tuple[str, str], Finding] = {}
    redactor = Redactor(secrets)
    for where, number, text in _added(lines):
        for kind, value in _secrets(text, redactor):
            mark = hashlib.sha256(value.encode()).hexdigest()[:16]
            found.setdefault((where[1], mark), Finding(where[0], where[1], number, kind, mark))
            if len(found) == MOST:
                return list(found.values())
    return list(found.values())


def _added(lines: Iterable[bytes]) -> Iterator[tuple[tuple[str, str], int, str]]:
    """((commit, path), line number, text) of every added line."""
    commit = path = ""
    number = left = 0  # of the lines that the hunk says it has: what a file contains can't end it
    for raw in lines:
        line = raw[:LONGEST_LINE].decode(errors="replace")
        if left:
            if line.startswith("+"):
                yield (commit, path), number, line[1:]
                number += 1
            left -= line[:1] in "+-"
        elif line.startswith("commit "):
            commit = line[7:]
        elif line.startswith("+++ "):
            path = line[4:].strip('"').removeprefix("b/")
        elif hunk := HUNK.match(line):
            number, left = int(hunk[2]), int(hunk[1] or 1) + int(hunk[3] or 1)


def _secrets(text: str, redactor: Redactor) -> Iterator[tuple[str, str]]:
    """(kind, value) of all that is secret in a line."""
    for name in redactor.found(text):
        yield f"value of {name}", name
    for match in KNOWN.finditer(text):
        yield NAMES[int((match.lastgroup or "k0")[1:])], match[0]
