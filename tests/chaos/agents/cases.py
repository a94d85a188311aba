"""What goes wrong, and how a turn has to end then."""

from collections.abc import Mapping
from dataclasses import dataclass, field

# Seconds without output after which the product ends a turn here; its default is ten minutes.
SILENCE = 25
# What a tool call's command has in it; a plain `sleep` is refused by Claude Code.
NAP = "time.sleep(98765)"
TOOL = f"[[shell: python3 -c 'import time; {NAP}']]"
ANSWER = "[[say: An answer that is long enough to be cut off in the middle of it.]]"


@dataclass(frozen=True)
class Case:
    """One failure; `ends` are the allowed "status/reason", by tool where they differ ("" for the others)."""

    name: str
    prompt: str
    ends: Mapping[str, frozenset[str]]
    # What has to be in the sentence, in lower case: one of them.
    words: tuple[str, ...] = ()
    # Seconds within which the turn has to be over.
    within: int = 200
    key: str | None = None  # None: the right one
    unknown_model: bool = False
    in_tool: str = ""  # what is done while the tool runs: "interrupt" or "term"
    # Tools whose own end leaves what they had started, as it leaves a server that is to stay.
    may_leave: frozenset[str] = frozenset()
    fields: Mapping[str, int] = field(default_factory=dict)

    def allows(self, tool: str, end: str) -> bool:
        """Whether a turn of this tool may end so."""
        return end in self.ends.get(tool, self.ends[""])


def ends(*all_tools: str, **by_tool: str) -> dict[str, frozenset[str]]:
    """For all tools, and for those that differ, separated by blanks."""
    return {"": frozenset(all_tools)} | {tool: frozenset(text.split()) for tool, text in by_tool.items()}


SILENT = {"silence_seconds": SILENCE}
CASES = (
    Case("no key", ANSWER, ends("failed/missing_key"), words=("key",), key=""),
    Case("wrong key (401)", ANSWER, ends("failed/key_refused"), words=("key",), key="sk-not-the-right-one"),
    Case("overloaded (529)", f"[[fail: 529]] {ANSWER}", ends("failed/overloaded"), words=("overload",)),
    Case("one 529, then fine", f"[[fail: 529 once]] {ANSWER}", ends("succeeded/")),
    # Claude Code asks again without streaming, which the server's script does not cut.
    Case(
        "stream cut each time",
        f"[[cut]] {ANSWER}",
        ends("failed/model_error", "failed/unfinished", claude="succeeded/"),
        words=("answer", "stream", "connection", "cut", "ended", "did not"),
    ),
    Case(
        "server never answers", f"[[hang]] {ANSWER}", ends("failed/silence"), words=("printed nothing",),
        within=SILENCE + 40, fields=SILENT,
    ),
    Case(
        "stream falls silent", f"[[stall]] {ANSWER}", ends("failed/silence"), words=("printed nothing",),
        within=SILENCE + 40, fields=SILENT,
    ),
    Case("unknown model", ANSWER, ends("failed/unknown_model"), words=("model",), unknown_model=True),
    Case(
        "interrupt in a tool", f"{TOOL} {ANSWER}", ends("interrupted/interrupted"), words=("interrupted",),
        in_tool="interrupt",
    ),
    Case(
        "TERM in a tool, from inside", f"{TOOL} {ANSWER}", ends("failed/unfinished"), words=("ended",),
        in_tool="term", may_leave=frozenset({"opencode"}),
    ),
)  # fmt: skip
