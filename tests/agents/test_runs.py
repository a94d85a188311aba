"""Runs with the real CLIs: a loop that fails once, an answer that is mended, candidates; one pull request each."""

import json
from pathlib import Path
from typing import Any

import pytest

from codecourier.models import Endpoint, Project, ProviderKey
from personas.models import Persona
from sandboxes.models import Kind, SessionConfig
from tests.agents.clis import CLAUDE, CODEX, OPENCODE, PI, Cli
from tests.agents.harness import AgentStack
from tests.endtoend.test_runs import over, told, walked
from tests.githubserver.server import TOKEN, GitHub
from tests.sandboxes.repositories import git, make
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
BUILD = shell("echo built >> work.txt && git add -A && git commit -qm Built")
# The first answer has no form that counts, its repair fails the work; the next iteration passes.
CHECK = (
    f"[[shell: if [ -e ~/seen ]; then {answer(PASS)}; else touch ~/seen; {answer(MAYBE)}; fi]] [[say: Checked.]] "
    f"[[mend]] [[shell: {answer(FAIL)}]] [[say: Mended.]]"
)
TEST = "grep -c . work.txt polish.txt; test $(wc -l < work.txt) = 2"


@pytest.fixture
def project(agent_stack: AgentStack, agents_github: GitHub, tmp_path: Path) -> Project:
    """With a repository at GitHub and models of both vendors."""
    made, _ = agent_stack.project(repository_url=f"{agents_github.url}/acme/work.git", default_branch="main")
    ProviderKey.objects.create(project=made, provider="github", secret=TOKEN)
    for cli in (CLAUDE, CODEX):
        url = agent_stack.server.url(made.slug) + cli.path
        Endpoint.objects.create(project=made, provider=cli.provider, base_url=url)
        ProviderKey.objects.create(project=made, provider=cli.provider, secret=agent_stack.server.key)
    if not agents_github.at("acme/work").exists():
        agents_github.repository("acme/work", make(tmp_path / "seed", a__txt="one\n"))
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


def test_a_run_of_four_agents_is_checked_mended_polished_tested_scored_and_pushed(
    agent_stack: AgentStack, project: Project, agents_github: GitHub
) -> None:
    session(project, Kind.EVALUATOR, "evaluator", PI, shell(answer(SCORE)))
    flow = Workflow.objects.create(project=project, name="All", evaluate="always")
    block = Block.objects.create(workflow=flow)
    step(flow, "designer", CLAUDE, BUILD, block)
    step(flow, "checker", CODEX, CHECK, block)
    step(flow, "optimizer", OPENCODE, shell("echo polished > polish.txt"))
    step(flow, "custom", None, TEST)
    run = over(runs.launch(flow, None, prompt="Write two lines.", checker_instructions="Count them."), 240)
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
    (pull,) = [one for one in agents_github.pulls if one.head == run.work_branch]
    work = git(agents_github.at("acme/work"), "show", f"{pull.head}:work.txt").splitlines()
    assert work == ["built", "built"]
    assert "polished" in git(agents_github.at("acme/work"), "show", f"{pull.head}:polish.txt")
    assert "### Score: 87 of 100" in pull.body
    assert "2 iterations" in pull.body
    # The same step goes on in the same conversation.
    first, second = run.step_runs.filter(step=0).order_by("iteration")
    assert first.sandbox == second.sandbox
    said = [str(one.body) for one in agent_stack.server.requests(project.slug)]
    assert any("Count them." in text for text in said)


def test_the_best_of_three_is_judged_without_names_and_goes_on(
    agent_stack: AgentStack, project: Project, agents_github: GitHub
) -> None:
    choice = {"choice": "B", "reason": "It says most.", "candidates": []}
    session(project, Kind.JUDGE, "judge", CODEX, shell(f"cat ~/attachments/*/B.patch; {answer(choice)}"))
    flow = Workflow.objects.create(project=project, name="Best", evaluate="never")
    known = [persona(project, "designer", cli).pk for cli in (CLAUDE, CODEX, PI)]
    # Each writes which program it is.
    name_it = shell("ls ~/.local/bin | head -n 1 > work.txt")
    step(flow, "designer", CLAUDE, name_it, candidates=known, test_script="wc -c < work.txt")
    step(flow, "custom", None, "grep codex work.txt")
    run: Run = over(runs.launch(flow, None, prompt="Write a word."), 240)
    assert run.status == "completed", told(run)
    judge = run.step_runs.get(kind="judge")
    assert judge.answer == choice | {"reason": "It says most."}
    assert run.step_runs.filter(kind="test", status="succeeded").count() == 3
    assert [run.step_runs.get(kind="step", candidate=place).status for place in (1, 2, 3)] == ["succeeded"] * 3
    (pull,) = [one for one in agents_github.pulls if one.head.startswith(run.work_branch)]
    assert pull.head == run.work_branch
    assert git(agents_github.at("acme/work"), "show", f"{pull.head}:work.txt") == "codex"
    assert not any(name in judge.prompt.lower() for name in ("claude", "codex", "designer"))
