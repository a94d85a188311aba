"""What each step is told, put together from small templates; it is kept with the step and shown on its page."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.template.loader import render_to_string

from codecourier import git
from sandboxes.checkpoints.store import EMPTY_TREE, Store
from sandboxes.models import Checkpoint

from .models import Run, StepRun
from .plan import block_of

# Of one earlier step's words, of all of them, and of the list of changed files.
WORDS, ALL_WORDS, FILES = 20_000, 60_000, 60
TEST_WORDS = 4_000


@dataclass(frozen=True)
class Part:
    """What a role is asked."""

    title: str
    text: str


DROPPED = "Read and run what you need; what you change in the project is dropped afterwards."
PARTS = {
    "designer": Part("do it", "Do the task. If something was found before, mend that first. Run the tests, and commit "
                     "each complete piece of work."),
    "optimizer": Part("polish", "The work does what it should. Make it simpler, clearer and faster where that is worth "
                      "it, without changing what it does. Run the tests, and commit."),
    "checker": Part("check", f"Decide whether the task is done well enough to be merged. {DROPPED} Give `pass` only "
                    "for what you saw working; with `fail` say for each finding where it is and what to do."),
    "prompter": Part("specify", f"Turn the task into a specification that an engineer can work from without asking "
                     f"back: what has to be true in the end, what is out of scope, how it is tested. {DROPPED}"),
    "planner": Part("plan", f"Say in which steps and in which files the task is best done. {DROPPED}"),
    "reviewer": Part("review", f"Review the changes as a colleague would, by file and line. {DROPPED}"),
    "evaluator": Part("score", f"Score the finished work from 0 to 100, overall and for each dimension. {DROPPED}"),
    "judge": Part("choose", f"Choose the candidate whose work should go on. {DROPPED}"),
    "custom": Part("do your part", "Do what your instructions say about the task."),
}  # fmt: skip
RESEARCH = Part("find out", f"Find out what the task asks for, with evidence by file and line. {DROPPED}")


def compose(row: StepRun, spec: dict[str, Any]) -> str:
    """The prompt of a step or an evaluator; a script gets itself."""
    run = row.run
    if spec["tool"] == "script":
        return script(row, spec)
    base = base_of(run)
    context = {
        "run": run,
        "earlier": list(earlier(row)),
        "base": base[:12] if base != EMPTY_TREE else base,
        "changes": changes(run, row.base),
        "findings": findings(row),
        "part": PARTS.get(spec["role"], RESEARCH),
        "iteration": row.iteration,
        "most": (block_of(run.manifest, row.step) or {"most": 1})["most"],
        "instructions": spec["instructions"].strip(),
        "checks": spec["contract"] in {"verdict", "score"},
    }
    return render_to_string("workflows/prompts/step.md", context).strip()


def script(row: StepRun, spec: dict[str, Any]) -> str:
    """The step's script, else its persona's; it may ask what the run started from."""
    text = spec["instructions"] if spec["instructions"].strip() else spec["script"]
    return f"export RUN_BASE={base_of(row.run)} RUN_ITERATION={row.iteration}\n{text}\n"


def judge(row: StepRun, spec: dict[str, Any], candidates: Sequence[StepRun]) -> str:
    """The prompt of a judge, who learns of the candidates what they did and not who they are."""
    shown = [
        {"letter": one.letter, "changes": changes(row.run, one.checkpoint, one.base), "test": tested(row, one)}
        for one in candidates
    ]
    context = {
        "run": row.run,
        "candidates": shown,
        "part": PARTS["judge"],
        "instructions": spec["instructions"].strip(),
    }
    return render_to_string("workflows/prompts/judge.md", context).strip()


def tested(row: StepRun, candidate: StepRun) -> str:
    """How a candidate's test went, in words for the judge; empty without one."""
    test = row.run.step_runs.filter(
        kind=StepRun.Kind.TEST, step=row.step, iteration=row.iteration, candidate=candidate.candidate
    ).first()
    if test is None:
        return ""
    how = "passed" if test.status == StepRun.Status.SUCCEEDED else f"failed: {test.detail}"
    return f"{how}\n\n{fenced(test.output[-TEST_WORDS:])}" if test.output.strip() else how


def base_of(run: Run) -> str:
    """The commit that the run's work is compared with; the empty tree for work that began from nothing."""
    return run.base_commit or EMPTY_TREE


def patch(run: Run, checkpoint: Checkpoint | None, base: Checkpoint | None, most: int) -> bytes:
    """The changes as a patch, cut off after so many bytes."""
    if checkpoint is None:
        return b""
    since = base.commit if base else base_of(run)
    return Store.of(run.project).git("diff", "--no-color", since, checkpoint.commit)[:most]


def changes(run: Run, checkpoint: Checkpoint | None, base: Checkpoint | None = None) -> str:
    """The list of changed files, fenced; empty where nothing is saved yet."""
    if checkpoint is None:
        return ""
    since = base.commit if base else base_of(run)
    words = ("diff", "--stat=100", f"--stat-count={FILES}", since, checkpoint.commit)
    try:
        said = Store.of(run.project).git(*words).decode(errors="replace").rstrip()
    except git.GitError:
        return ""
    return fenced(said) if said else "Nothing is changed."


def fenced(text: str) -> str:
    """As a block of code, whatever is in it."""
    ticks = "`" * max(3, 1 + max((len(run) for run in _runs(text)), default=0))
    return f"{ticks}\n{text}\n{ticks}"


def _runs(text: str) -> Iterator[str]:
    """Every run of backticks."""
    run = ""
    for char in f"{text} ":
        if char == "`":
            run += char
        elif run:
            yield run
            run = ""


def earlier(row: StepRun) -> Iterator[dict[str, str]]:
    """What the steps before it said in their last iteration, except the verdict that `findings` tells."""
    left, seen = ALL_WORDS, dict[int, StepRun]()
    rows = row.run.step_runs.filter(kind="step", status="succeeded", step__lt=row.step).order_by("iteration", "id")
    for one in rows:
        if not one.candidate or one.checkpoint_id == row.base_id:
            seen[one.step] = one
    inside = block_of(row.run.manifest, row.step)
    for number in sorted(seen):
        one = seen[number]
        if one.spec["contract"] == "verdict" and inside and number in inside["steps"]:
            continue
        text = said_by(one)[: min(WORDS, left)].strip()
        left -= len(text)
        if text:
            yield {"name": one.spec["name"], "text": text}


def findings(row: StepRun) -> dict[str, Any] | None:
    """The verdict of the iteration before, for every step of the block that repeats because of it."""
    block = block_of(row.run.manifest, row.step)
    if block is None or row.iteration == 1:
        return None
    rows = row.run.step_runs.filter(kind="step", step__in=block["steps"], iteration=row.iteration - 1)
    failed = next((one for one in rows.order_by("-step") if one.verdict == "fail"), None)
    return {"iteration": failed.iteration, "text": said_by(failed)[:WORDS]} if failed else None


def said_by(row: StepRun) -> str:
    """What a step said, as Markdown: its answer, else its last words."""
    answer = row.answer if isinstance(row.answer, dict) else {}
    made = _MADE.get(row.spec["contract"])
    return made(answer) if made and answer else row.output


def _verdict(answer: dict[str, Any]) -> str:
    lines = [f"Verdict: {answer.get('verdict')}. {answer.get('summary', '')}", ""]
    for found in answer.get("findings", []):
        where = f"{found['file']}:{found['line']}" if found.get("line") else found.get("file") or "in general"
        lines.append(f"- **{found['severity']}**, {where}: {found['problem']}")
        if found.get("suggestion"):
            lines.append(f"  Suggestion: {found['suggestion']}")
    return "\n".join(lines).strip()


def _plan(answer: dict[str, Any]) -> str:
    lines = [answer.get("summary", ""), ""]
    for number, step in enumerate(answer.get("steps", []), 1):
        files = f" ({', '.join(step['files'])})" if step.get("files") else ""
        lines.append(f"{number}. {step['title']}{files}")
        if step.get("detail"):
            lines.append(f"   {step['detail']}")
    return "\n".join(lines).strip()


def _text(answer: dict[str, Any]) -> str:
    return str(answer.get("text", ""))


_MADE = {"verdict": _verdict, "plan": _plan, "text": _text}
