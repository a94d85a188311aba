"""The script tool: the prompt is a bash script, success is exit status 0, no key needed."""

from .base import Command, Exit, Verdict


class Script:
    """Deterministic steps beside the AI ones."""

    check = "bash --version | head -n 1"

    def turn(self, prompt: str, folder: str) -> Command:
        """The script goes into a file: as an argument it would be limited to 128 KiB, as stdin it would be eaten."""
        path = f"{folder}/script"
        text = prompt.replace("\r\n", "\n")
        return Command(argv=("bash", path), files={path: text.encode(errors="surrogateescape")})

    def judge(self, ended: Exit) -> Verdict:
        """Exit status 0 or not."""
        if ended.code == 0:
            return Verdict("succeeded")
        if ended.signal:
            return Verdict("failed", "exit", f"The script was ended by signal {ended.signal}.")
        return Verdict("failed", "exit", f"The script ended with exit status {ended.code}.")
