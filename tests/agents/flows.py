"""A workflow of the four CLIs: built, checked, mended, polished, tested and scored; and what has to be left of it."""

import json
from pathlib import Path
from typing import Any

from codecourier.models import Endpoint, Project, ProviderKey
from personas.models import Persona
from sandboxes.models import Kind, SessionConfig
from tests.agents.clis import CLAUDE, CODEX, OPENCODE, PI, Cli
from tests.endtoend.script_runs import told, walked
from tests.githubserver.server import TOKEN, GitHub
from tests.sandboxes.repositories import git, make
from tests.stack import Stack
from workflows import runs
from workflows.models import Block, Run, Step, Workflow


def shell(command: str) -> str:
    return f"[[shell: {command}]] [[say: Done with it.]]"


def answer(value: dict[str, Any]) -> str:
    """A shell command that answers."""
    return f"echo '{json.dumps(value)}' > $ANSWER_FILE"


FINDING = {
    "severity": "high",
    "file": "work.txt",
    "line": 1,
    "problem": "One line is not enough.",
    "suggestion": "Two.",
}
PASS = {"verdict": "pass", "summary": "Two lines."}
FAIL = {"verdict": "fail", "summary": "One line.", "findings": [FINDING]}
MAYBE = {"verdict": "maybe", "summary": "Who knows."}
SCORE = {
    "score": 87,
    "summary": "It does what it should.",
    "dimensions": {name: {"score": 80, "reason": "Seen."} for name in ("correctness", "tests", "readability", "scope")},
}
BUILD = "echo built >> work.txt && git add -A && git commit -qm Built"
# The first answer has no form that counts, its repair fails the work; the next iteration passes.
CHECK = (
    f"[[shell: if [ -e ~/seen ]; then {answer(PASS)}; else touch ~/seen; {answer(MAYBE)}; fi]] [[say: Checked.]] "
    f"[[mend]] [[shell: {answer(FAIL)}]] [[say: Mended.]]"
)
TEST = "grep -c . work.txt polish.txt; test $(wc -l < work.txt) = 2"


def project(stack: Stack, hub: GitHub, name: str, seed: Path) -> Project:
    """With a repository at GitHub and models of both vendors."""
    made, _ = stack.project(repository_url=f"{hub.url}/{name}.git", default_branch="main")
    server = stack.server  # type: ignore[attr-defined]
    ProviderKey.objects.create(project=made, provider="github", secret=TOKEN)
    for cli in (CLAUDE, CODEX):
        Endpoint.objects.create(project=made, provider=cli.provider, base_url=server.url(made.slug) + cli.path)
        ProviderKey.objects.create(project=made, provider=cli.provider, secret=server.key)
    if not hub.at(name).exists():
        hub.repository(name, make(seed, a__txt="one\n"))
    return made


def persona(project: Project, role: str, cli: Cli | None, instructions: str = "") -> Persona:
    number = Persona.objects.filter(project=project).count()
    chosen = {"tool": cli.tool, "model": cli.model} if cli else {"tool": "script"}
    return Persona.objects.create(
        project=project, name=f"{role} {number}", role=role, instructions=instructions, **chosen
    )


def step(workflow: Workflow, role: str, cli: Cli | None, text: str, block: Block | None = None, **fields: Any) -> Step:
    position = workflow.steps.count()
    who = persona(workflow.project, role, cli)
    return Step.objects.create(
        workflow=workflow, position=position, persona=who, instructions=text, block=block, name=who.name, **fields
    )


def session(project: Project, kind: str, role: str, cli: Cli, text: str) -> None:
    SessionConfig.objects.create(project=project, kind=kind, persona=persona(project, role, cli), prompt=text)


def launch(project: Project, hold: str = "") -> Run:
    """A run of all of them; the first step and the optimizer begin with `hold`."""
    hold = f"[ -e ~/been ] || {{ touch ~/been; {hold}; }}; " if hold else ""
    session(project, Kind.EVALUATOR, "evaluator", PI, shell(answer(SCORE)))
    flow = Workflow.objects.create(project=project, name="All", evaluate="always")
    block = Block.objects.create(workflow=flow)
    step(flow, "designer", CLAUDE, shell(hold + BUILD), block)
    step(flow, "checker", CODEX, CHECK, block)
    step(flow, "optimizer", OPENCODE, shell(hold + "echo polished > polish.txt"))
    step(flow, "custom", None, TEST)
    return runs.launch(flow, None, prompt="Write two lines.", checker_instructions="Count them.")


def check(run: Run, hub: GitHub, name: str) -> None:
    """The run as it has to end, whatever happened."""
    assert (run.status, run.score) == ("completed", 87), told(run)
    assert walked(run) == [
        ("step", 0, 1, "succeeded"), ("step", 1, 1, "fail"), ("step", 0, 2, "succeeded"), ("step", 1, 2, "pass"),
        ("step", 2, 1, "succeeded"), ("step", 3, 1, "succeeded"), ("evaluator", 4, 1, "succeeded"),
    ], told(run)  # fmt: skip
    checker = run.step_runs.get(step=1, iteration=1)
    assert checker.turn
    assert "Input should be 'pass' or 'fail'" in checker.turn.detail
    assert checker.turn.repaired_by.status == "succeeded"
    assert "work.txt:1: One line is not enough." in run.step_runs.get(step=0, iteration=2).prompt
    (pull,) = [one for one in hub.pulls if one.head == run.work_branch]
    work = git(hub.at(name), "show", f"{pull.head}:work.txt").splitlines()
    assert work == ["built", "built"]
    assert "polished" in git(hub.at(name), "show", f"{pull.head}:polish.txt")
    assert "### Score: 87 of 100" in pull.body
    assert "2 iterations" in pull.body
