"""What the real CLIs printed, as the page shows it: each line of theirs is seen, none is lost, the tools look alike."""

import re

import pytest
from django.test import Client

from codecourier.models import Project
from sandboxes.models import Template
from tests.agents.reading import captured, read
from tests.sandboxes.pages import make
from tests.sandboxes.talking import turn_of
from tests.sandboxes.test_conversation import events, inside, page, plain


@pytest.mark.parametrize("tool", ["claude", "codex", "opencode", "pi"])
def test_a_first_turn_of_each_tool_reads_the_same(member_client: Client, project: Project, tool: str) -> None:
    template = Template.objects.create(slug=tool, name=tool.title(), tool=tool, image=tool)
    rows = read(tool, captured(f"{tool}-first"))
    sandbox = make(project, template)
    turn = turn_of(sandbox, "Do it", *[(row.kind, row.data) for row in rows], status="succeeded")
    html = page(member_client, sandbox, "tab=conversation")
    said = plain(html.partition('id="turns"')[2].partition("conversation-empty")[0])
    assert "Thinking" in said
    assert "All done now." in said
    assert "cat a.txt" in said
    calls = [row for row in rows if row.kind == "tool_call"]
    assert len(re.findall(r'data-state="(?:done|failed)"', html)) == len(calls) > 1
    shown = {"text", "thinking", "tool_call", "retry", "error", "raw"}
    assert len(events(html)) == sum(row.kind in shown for row in rows)
    command = next(row for row in calls if "cat a.txt" in str(row.data["input"]))
    opened = plain(inside(member_client, turn, command.seq))
    assert re.match(r"Command .*cat a.txt.*(Output|Error)", opened), opened


FAILURES = ["claude-401", "claude-flaky", "claude-subagent", "codex-529", "opencode-401", "pi-529", "pi-cut"]


@pytest.mark.parametrize("name", FAILURES)
def test_what_went_wrong_with_the_model_is_seen_as_it_happened(
    member_client: Client, project: Project, name: str
) -> None:
    tool = name.partition("-")[0]
    template = Template.objects.create(slug=tool, name=tool.title(), tool=tool, image=tool)
    rows = read(tool, captured(name))
    sandbox = make(project, template)
    turn_of(sandbox, "Do it", *[(row.kind, row.data) for row in rows], status="failed", detail="It failed.")
    html = page(member_client, sandbox, "tab=conversation")
    for kind in ("retry", "error"):
        assert html.count(f"note-{kind}") == sum(row.kind == kind for row in rows)
    assert len(events(html)) > 0
