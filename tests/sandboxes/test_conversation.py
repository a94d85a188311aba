"""The conversation over HTTP: what is shown of each event, in windows, with everything whole behind a link."""

import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from codecourier.models import Project, User
from sandboxes import conversation
from sandboxes.conversation import tools
from sandboxes.models import Sandbox, Template, Turn
from tests.sandboxes.pages import make
from tests.sandboxes.talking import call, result, text, turn_of, used

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture
def sandbox(project: Project, member: User) -> Sandbox:
    template = Template.objects.create(slug="claude", name="Claude Code", tool="claude", image="claude")
    return make(project, template, title="Fix it", created_by=member, designer_model="claude-sonnet-4-5")


def page(client: Client, sandbox: Sandbox, query: str = "") -> str:
    return client.get(f"/p/rocket/sandboxes/{sandbox.pk}/?{query}").content.decode()


def inside(client: Client, turn: Turn, seq: int, query: str = "inside") -> str:
    answer = client.get(f"/p/rocket/sandboxes/{turn.sandbox_id}/events/{turn.job_id}/{seq}/?{query}")
    assert answer.status_code == 200
    return answer.content.decode()


def events(html: str) -> list[str]:
    return re.findall(r'id="(event-\d+-\d+)"', html)


def plain(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def test_a_turn_shows_who_asked_what_was_done_and_how_it_ended(member_client: Client, sandbox: Sandbox, member: User):
    tokens = {"claude-opus-4-5": {"input": 1200, "output": 34, "cache_read": 56_000, "cache_write": 7, "reasoning": 5}}
    turn_of(
        sandbox, "Fix **it**", ("thinking", {"text": "Hm."}), text("Done: `x`"), used(input=1200),
        by=member, status="failed", detail="The model provider was overloaded.", usage=tokens,
    )  # fmt: skip
    html = page(member_client, sandbox)
    assert "<strong>it</strong>" in html
    assert "<code>x</code>" in html
    said = plain(html)
    for part in ("Mia", "claude-opus-4-5", "Hm.", "Failed", "1,200 in", "34 out", "56,000 cached", "7 to cache"):
        assert part in said
    assert "The model provider was overloaded." in said


def test_unknown_tokens_are_no_zero(member_client: Client, sandbox: Sandbox):
    turn_of(sandbox, "x", status="succeeded", usage=None)
    said = plain(page(member_client, sandbox).partition('class="end"')[2].partition("</footer>")[0])
    assert "tokens unknown" in said
    assert " in " not in said


def test_a_running_turn_counts_what_it_has_used_so_far(member_client: Client, sandbox: Sandbox):
    turn_of(sandbox, "x", used(input=1000, output=1), used(input=500, output=2))
    said = plain(page(member_client, sandbox))
    assert "1,500 in" in said
    assert "3 out" in said


def test_what_has_no_rate_says_so(member_client: Client, sandbox: Sandbox):
    turn_of(sandbox, "x", status="succeeded", usage={"stub-model": {"input": 10, "output": 1}})
    assert "no rate" in plain(page(member_client, sandbox))


def test_a_call_is_one_line_with_its_result(member_client: Client, sandbox: Sandbox):
    turn = turn_of(
        sandbox, "x",
        call(1, "Bash", command="uv run pytest"), result(1, "1 failed", error=True, code=1, seconds=2.5),
        call(2, "Edit", file_path="/home/user/project/a/b.py", old_string="one\ntwo", new_string="one\nzwei\ndrei"),
        result(2, "ok"), call(3, "Read", file_path="/etc/hosts"),
    )  # fmt: skip
    html = page(member_client, sandbox)
    assert len(events(html)) == 3
    said = plain(html)
    assert "Bash uv run pytest exit 1 2.5 s" in said
    assert "Edit a/b.py +2 \N{MINUS SIGN}1 400 ms" in said
    assert f'data-inside="/p/rocket/sandboxes/{sandbox.pk}/events/{turn.job_id}/1/"' in html
    assert 'data-state="failed"' in html
    assert 'data-state="running"' in html


def test_an_opened_call_shows_what_went_in_and_came_out(member_client: Client, sandbox: Sandbox):
    edit = {"file_path": "/home/user/project/a.py", "old_string": "x = 1\ny = 2", "new_string": "x = 1\ny = 3"}
    turn = turn_of(
        sandbox, "x", call(1, "Bash", command="ls", timeout=5), result(1, "\x1b[31ma\x1b[0m\nb\n"),
        call(2, "Edit", **edit), result(2, "No such file", error=True),
    )  # fmt: skip
    shell = plain(inside(member_client, turn, 1))
    assert shell == 'Command ls Arguments { "timeout" : 5 } Output a b'
    diff = inside(member_client, turn, 3)
    assert re.search(r'class="removed">.*2.*\n</span><span class="added">.*3', diff)
    assert plain(diff).endswith("Error No such file")


def test_long_outputs_are_cut_until_they_are_wanted_whole(member_client: Client, sandbox: Sandbox):
    turn = turn_of(sandbox, "x", call(1, "Bash", command="seq"), result(1, "\n".join(map(str, range(5000)))))
    short = inside(member_client, turn, 1)
    assert "Show all" in short
    assert "4999" not in short
    whole = inside(member_client, turn, 1, "inside&all")
    assert "4999" in whole
    assert "Show all" not in whole
    assert "4999" in inside(member_client, turn, 1, "")


def test_long_texts_are_cut_until_they_are_wanted_whole(member_client: Client, sandbox: Sandbox):
    turn = turn_of(sandbox, "x", text("word " * 10_000 + "the-end"))
    html = page(member_client, sandbox)
    assert "Show all" in html
    assert "the-end" not in html
    assert "the-end" in inside(member_client, turn, 1)


def test_a_call_with_megabytes_of_input_is_still_one_line(member_client: Client, sandbox: Sandbox):
    turn_of(sandbox, "x", call(1, "Write", file_path="/home/user/project/big.txt", content="x" * 5_000_000))
    html = page(member_client, sandbox)
    assert "big.txt" in html
    assert len(html) < 200_000


def test_nothing_that_an_agent_sends_is_markup_or_breaks_the_page(member_client: Client, sandbox: Sandbox):
    odd: list[Any] = [
        None,
        7,
        EVIL,
        [EVIL],
        {EVIL: EVIL},
        {"command": [EVIL, 1]},
        {"edits": [7]},
        {"changes": {EVIL: 1}},
    ]
    data = [("tool_call", {"id": EVIL, "name": EVIL, "input": given}) for given in odd]
    data += [("tool_call", {}), ("tool_result", {"id": EVIL, "output": {"a": 1}, "exit": "x", "seconds": "y"})]
    data += [("retry", {"attempt": EVIL, "of": [], "wait_ms": "z", "status": EVIL, "text": EVIL}), ("retry", {})]
    data += [
        ("error", {"text": EVIL, "status": []}),
        ("raw", {"text": f"]]>{EVIL}", "bytes": EVIL}),
        ("text", {"text": 5}),
    ]
    data += [("usage", {"model": EVIL, "input": EVIL, "output": None}), ("thinking", {"text": EVIL}), ("unheard", {})]
    turn = turn_of(sandbox, EVIL, *data, model=EVIL, effort="high")
    html = page(member_client, sandbox)
    assert "<img src=x" not in html
    shown = [int(name.rpartition("-")[2]) for name in events(html)]
    assert len(shown) == len(data) - 3
    for seq in shown:
        for query in ("inside", ""):
            assert "<img src=x" not in inside(member_client, turn, seq, query)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"command": "/bin/bash -lc 'echo hi; ls'"}, "echo hi; ls"),
        ({"command": ["bash", "-lc", "make"]}, "make"),
        ({"command": "bash -lc 'unclosed"}, "bash -lc 'unclosed"),
        ({"filePath": "/home/user/project/a.txt", "content": "x"}, "a.txt"),
        ({"path": "b.txt", "edits": [{"oldText": "a", "newText": "b"}]}, "b.txt"),
        ({"pattern": "def .*", "path": "src"}, "def .*"),
        ({"changes": [{"path": "/home/user/project/a", "kind": "add"}, {"path": "b", "kind": "update"}]}, "a, b"),
        ({"todos": [{"content": "a", "status": "completed"}, {"content": "b", "status": "pending"}]}, "1 of 2 done"),
        ({"items": [{"text": "a", "completed": False}]}, "0 of 1 done"),
        ({"issue": 4}, '{"issue": 4}'),
        ({}, ""),
        ("free text\nof two lines", "free text of two lines"),
    ],
)
def test_the_telling_argument_of_each_agents_calls(given: object, line: str):
    assert tools.telling(given) == line


def test_patches_and_edits_of_each_agent_are_diffs():
    given: Any
    patch = "*** Begin Patch\n*** Update File: a.py\n@@\n-old\n+new\n+newer\n*** End Patch"
    for given in ({"input": patch}, {"patchText": patch}, patch):
        (part,) = tools.sections(given, None)
        assert [row.sign for row in part.rows].count("+") == 2
        assert tools.counts(given) == (2, 1)
    for given in (
        {"filePath": "a", "oldString": "x", "newString": "y"},
        {"path": "a", "edits": [{"oldText": "x", "newText": "y"}]},
    ):
        (part,) = tools.sections(given, None)
        assert [(row.sign, row.html) for row in part.rows] == [("-", "x"), ("+", "y")]


def test_ten_thousand_events_open_as_the_newest_two_hundred(member_client: Client, sandbox: Sandbox):
    for _ in range(2):
        turn_of(sandbox, "x", *[text(f"number {number}") for number in range(5000)], status="succeeded")
    last = turn_of(sandbox, "y", *[text(f"last {number}") for number in range(50)])
    html = page(member_client, sandbox)
    assert len(events(html)) == 200
    assert events(html)[-1] == f"event-{last.job_id}-50"
    assert html.count('class="talk"') == 2


def test_windows_one_after_the_other_have_every_event_once(sandbox: Sandbox):
    for count in (0, 130, 200, 0, 201, 1, 0):
        turn_of(sandbox, "x", *[text(str(number)) for number in range(count)], status="succeeded")
    found, messages, before = list[str](), set[int](), ""
    for _ in range(10):
        part = conversation.page(sandbox, before)
        found = [entry.id for talk in part.talks for entry in talk.entries] + found
        messages |= {talk.turn.pk for talk in part.talks}
        before = part.older
        if not before:
            break
    assert (len(found), len(set(found))) == (532, 532)
    assert found == sorted(found, key=lambda name: [int(number) for number in name.split("-")[1:]])
    assert messages == set(sandbox.turns.values_list("pk", flat=True))


def test_many_short_turns_come_in_windows_too(sandbox: Sandbox):
    for _ in range(95):
        turn_of(sandbox, "x", text("y"), status="succeeded")
    sizes, before = list[int](), ""
    while not sizes or before:
        part = conversation.page(sandbox, before)
        sizes.append(len(part.talks))
        before = part.older
    assert sizes == [40, 40, 15]


def test_older_windows_are_parts_for_the_page(member_client: Client, sandbox: Sandbox):
    turn = turn_of(sandbox, "x", *[text(str(number)) for number in range(250)])
    html = page(member_client, sandbox)
    assert f'href="?tab=conversation&amp;before={turn.pk}.51"' in html
    older = member_client.get(f"/p/rocket/sandboxes/{sandbox.pk}/conversation/?before={turn.pk}.51").content.decode()
    assert "<html" not in older
    assert events(older) == [f"event-{turn.job_id}-{number}" for number in range(1, 51)]
    assert events(page(member_client, sandbox, f"before={turn.pk}.51")) == events(older)


@pytest.mark.parametrize("before", ["x", "1", "1.", "-1.2", "9" * 30 + ".1", "999999.5", "1.999999999999999999"])
def test_a_place_that_is_none_is_the_newest(member_client: Client, sandbox: Sandbox, before: str):
    turn_of(sandbox, "x", text("hello"))
    assert len(events(page(member_client, sandbox, f"before={before}"))) == 1


def test_queries_do_not_grow_with_the_conversation(member_client: Client, sandbox: Sandbox, member: User):
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            page(member_client, sandbox)
        return len(captured)

    def more() -> None:
        turn_of(
            sandbox, "x", text("y"), call(1, "Bash", command="ls"), result(1, "a"), by=member, status="succeeded",
            usage={"claude-sonnet-4-5": {"input": 1}},
        )  # fmt: skip

    more()
    few = queries()
    for _ in range(15):
        more()
    assert queries() == few <= 25


def test_a_stranger_gets_nothing(stranger_client: Client, sandbox: Sandbox):
    turn = turn_of(sandbox, "x", text("y"))
    base = f"/p/rocket/sandboxes/{sandbox.pk}"
    for path in (f"{base}/conversation/", f"{base}/events/{turn.job_id}/1/"):
        assert stranger_client.get(path).status_code == 404


def test_an_event_of_another_sandbox_is_not_there(member_client: Client, sandbox: Sandbox, project: Project):
    other = make(project, sandbox.template)
    turn = turn_of(other, "x", text("y"), used(input=1))
    for job, seq in ((turn.job_id, 1), (turn.job_id, 2), (999_999, 1)):
        assert member_client.get(f"/p/rocket/sandboxes/{sandbox.pk}/events/{job}/{seq}/").status_code == 404
    assert member_client.get(f"/p/rocket/sandboxes/{other.pk}/events/{turn.job_id}/2/").status_code == 404


def test_a_script_opens_with_its_output_and_still_has_a_conversation(
    member_client: Client, project: Project, template: Template
):
    scripted = make(project, template)
    turn = turn_of(scripted, "echo <hi>", status="succeeded")
    assert 'id="tab-conversation" aria-label="Conversation" hidden' in page(member_client, scripted)
    html = page(member_client, scripted, "tab=conversation")
    assert "echo &lt;hi&gt;" in html
    assert f'href="/p/rocket/sandboxes/{scripted.pk}/?tab=output&amp;job={turn.job_id}"' in html
    assert "tokens" not in plain(html)
