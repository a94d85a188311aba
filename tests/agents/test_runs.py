"""A run with the real CLIs as candidates; the loop of all four is played by `test_day`."""

from pathlib import Path

import pytest

from codecourier.models import Project
from sandboxes.models import Kind
from tests.agents import flows
from tests.agents.clis import CLAUDE, CODEX, PI
from tests.agents.flows import answer, persona, session, shell, step
from tests.agents.harness import AgentStack
from tests.endtoend.script_runs import over, told
from tests.githubserver.server import GitHub
from tests.sandboxes.repositories import git
from workflows import runs
from workflows.models import Workflow

pytestmark = pytest.mark.long
NAME = "acme/work"


@pytest.fixture
def project(agent_stack: AgentStack, agents_github: GitHub, tmp_path: Path) -> Project:
    return flows.project(agent_stack, agents_github, NAME, tmp_path / "seed")


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
    run = over(runs.launch(flow, None, prompt="Write a word."), 240)
    assert run.status == "completed", told(run)
    judge = run.step_runs.get(kind="judge")
    assert judge.answer == choice | {"reason": "It says most."}
    assert run.step_runs.filter(kind="test", status="succeeded").count() == 3
    assert [run.step_runs.get(kind="step", candidate=place).status for place in (1, 2, 3)] == ["succeeded"] * 3
    (pull,) = [one for one in agents_github.pulls if one.head.startswith(run.work_branch)]
    assert pull.head == run.work_branch
    assert git(agents_github.at(NAME), "show", f"{pull.head}:work.txt") == "codex"
    assert not any(name in judge.prompt.lower() for name in ("claude", "codex", "designer"))
