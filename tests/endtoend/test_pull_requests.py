"""A private repository, all the way: cloned, worked on, pushed, asked to be reviewed; its key is left nowhere."""

import json
import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
from django.core.management import call_command

from codecourier import up
from codecourier.models import Project, ProviderKey
from sandboxes import e2b, fleet, turns
from sandboxes.models import Kind, PullRequest, Sandbox, SessionConfig
from sandboxes.publishing import merging, pulls
from tests.endtoend.conftest import end, turn_of
from tests.githubserver.server import TOKEN, GitHub
from tests.sandboxes.repositories import commit, git, make, write
from tests.stack import Stack, wait_for

SEARCH = (Path(__file__).parents[1] / "agents" / "search.py").read_bytes()
WORK = "git log --format=%s; echo two >> a.txt; env; git config --list"


@pytest.fixture
def project(stack: Stack, github_server: GitHub, tmp_path: Path) -> Project:
    """A project whose repository is private."""
    project, _ = stack.project()
    ProviderKey.objects.create(project=project, provider="github", secret=TOKEN)
    if not github_server.at("acme/shop").exists():
        github_server.repository("acme/shop", make(tmp_path / "seed", a__txt="one\n"))
    return project


def settled(sandbox: Sandbox, commits: int) -> PullRequest:
    """Its pull request once so many commits are in it."""

    def there() -> PullRequest | None:
        row = PullRequest.objects.filter(sandbox=sandbox, status__in=PullRequest.LIVE).first()
        return row if row and sandbox.checkpoints.stored().count() == commits else None

    return wait_for(there, "the pull request")


def test_private_work_becomes_one_pull_request_and_the_key_stays_outside(
    stack: Stack, project: Project, github_server: GitHub
) -> None:
    hub, url = github_server, f"{github_server.url}/acme/shop.git"
    sandbox = stack.launch(project, WORK, repository_url=url, publish="request")
    turn = turn_of(sandbox)
    assert turn.status == "succeeded", turn.detail
    row = settled(sandbox, 1)
    (pull,) = [one for one in hub.pulls if one.head == row.branch]
    assert git(hub.at("acme/shop"), "show", f"{pull.head}:a.txt").splitlines() == ["one", "two"]
    machine = e2b.machine_of(sandbox)
    if os.geteuid() == 0:  # the local host shows it the portal's copy; without root it is sent
        assert "/remote" in machine.run("cat project/.git/objects/info/alternates", "see what is lent")
    machine.write({"/tmp/search.py": SEARCH}, "bring the search")
    found = json.loads(machine.run(f"python3 /tmp/search.py {TOKEN[::-1]}", "search the machine", seconds=60))
    # What the machine's daemon has carried may linger in its own memory; nobody else can read that.
    assert [place for place in found[TOKEN[::-1]] if not place.startswith("memory")] == []
    assert all(TOKEN not in path.read_text(errors="replace") for path in (stack.state / "log").iterdir())
    assert TOKEN not in pull.body + pull.title
    # The worker dies with the next turn's work on its way: the same branch and request have it afterwards.
    turns.send(sandbox, None, "echo three >> a.txt")
    wait_for(lambda: sandbox.checkpoints.count() > 1, "the next checkpoint")
    stack.kill("worker")
    stack.start("worker")
    row = settled(sandbox, 2)

    def pushed() -> bool:
        row.refresh_from_db()
        return git(hub.at("acme/shop"), "show", f"{pull.head}:a.txt").splitlines() == ["one", "two", "three"]

    wait_for(pushed, "the second push")
    assert [one.head for one in hub.pulls].count(row.branch) == 1
    end(sandbox)


def test_a_command_prints_the_pull_request_that_it_made(
    stack: Stack,
    project: Project,
    github_server: GitHub,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(up, "stack", lambda say: nullcontext())  # it runs already
    url = f"{github_server.url}/acme/shop.git"
    call_command("launch", "echo five > e.txt", project=project.slug, tool="script", repo=url, pr=True)
    row = PullRequest.objects.get(project=project)
    assert capsys.readouterr().out.splitlines()[-1] == row.url == f"{github_server.url}/acme/shop/pull/{row.number}"
    with pytest.raises(SystemExit) as nothing:
        call_command("launch", "true", project=project.slug, tool="script", repo=url, pr=True)
    assert nothing.value.code == 1
    assert "nothing was changed" in capsys.readouterr().err


def test_an_agent_merges_what_git_alone_can_not(
    stack: Stack, project: Project, github_server: GitHub, tmp_path: Path
) -> None:
    hub, url = github_server, f"{github_server.url}/acme/shop.git"
    prompt = "git merge -q origin/{base} || { echo both > a.txt; git add a.txt; git commit -qm Both; }"
    SessionConfig.objects.create(project=project, kind=Kind.MERGING, prompt=prompt)
    sandbox = stack.launch(project, "echo ours > a.txt", repository_url=url, publish="request")
    row = settled(sandbox, 1)
    git(tmp_path, "clone", "-q", str(hub.at("acme/shop")), "other")
    write(tmp_path / "other", a__txt="theirs\n")
    git(commit(tmp_path / "other", "Theirs"), "push", "-q", "origin", "main")
    pulls.update(row, None)

    def refreshed(condition: Callable[[PullRequest], bool]) -> bool:
        row.refresh_from_db()
        return condition(row)

    wait_for(lambda: refreshed(lambda row: bool(row.conflict) and row.status == "draft"), "the conflict to be told")
    session = merging.begin(row, None)
    wait_for(lambda: refreshed(lambda row: not row.conflict and row.status == "draft"), "the merge")
    head = hub.head("acme/shop", row.branch)
    assert git(hub.at("acme/shop"), "show", f"{head}:a.txt") == "both"
    assert git(hub.at("acme/shop"), "merge-base", head, "main") == hub.head("acme/shop", "main")
    end(session)
    # The machine that the work comes from knows nothing of the merge; what it does next is added to it.
    turns.send(sandbox, None, "echo more > c.txt")

    def added() -> bool:
        return "c.txt" in git(hub.at("acme/shop"), "ls-tree", "--name-only", row.branch).split()

    wait_for(added, "more work")
    assert git(hub.at("acme/shop"), "show", f"{row.branch}:a.txt") == "both"
    end(sandbox)


def test_work_goes_on_elsewhere_when_the_machine_is_lost(stack: Stack, project: Project, github_server: GitHub) -> None:
    sandbox = stack.launch(project, "echo mine > b.txt", repository_url=f"{github_server.url}/acme/shop.git")
    turn_of(sandbox)
    wait_for(sandbox.checkpoints.stored().exists, "the checkpoint")
    sandbox.refresh_from_db()
    e2b.kill(e2b.local_provider(), sandbox.provider_id)
    row = pulls.publish(sandbox, None)

    def pushed() -> bool:
        row.refresh_from_db()
        return row.status == "pushed"

    wait_for(pushed, "the push")
    assert git(github_server.at("acme/shop"), "show", f"{row.branch}:b.txt") == "mine"
    fleet.stop(sandbox, None)
