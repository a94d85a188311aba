"""What holds for the streams of Codex, OpenCode and Pi alike, over everything that was captured of them."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.agents.reading import CAPTURES, captured, fresh, of_kind, read

TOOLS = ("codex", "opencode", "pi")
NAMES = sorted(path.stem for path in CAPTURES.glob("*.jsonl") if path.stem.split("-")[0] in TOOLS)
KINDS = sorted({json.loads(line)["type"] for name in NAMES for line in captured(name).splitlines()})
LEAVES = st.none() | st.booleans() | st.floats() | st.integers() | st.text()
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=6)
PLACES = ("item", "part", "message", "usage", "error", "assistantMessageEvent", "result", "sessionID", "thread_id")


def tool_of(name: str) -> str:
    return name.split("-")[0]


@pytest.mark.parametrize("tool", TOOLS)
def test_there_is_something_captured(tool: str) -> None:
    assert {f"{tool}-{name}" for name in ("first", "second", "401", "term")} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_wherever_the_stream_is_cut_the_events_are_the_same(name: str) -> None:
    data, tool = captured(name), tool_of(name)
    whole = read(tool, data)
    assert read(tool, *(data[start : start + 1] for start in range(len(data)))) == whole
    for cut in range(0, len(data), 331):
        before = fresh(tool)
        before.take(0, data[:cut])
        after = fresh(tool)
        after.load(before.dump())
        after.seq = before.seq
        after.take(0, data[cut:])
        after.end(0)
        assert before.rows + after.rows == whole


@pytest.mark.parametrize("name", NAMES)
def test_no_captured_line_is_left_unread(name: str) -> None:
    assert of_kind(read(tool_of(name), captured(name)), "raw") == []


@pytest.mark.parametrize("name", NAMES)
def test_every_result_has_its_call_before_it(name: str) -> None:
    called: set[str] = set()
    for row in read(tool_of(name), captured(name)):
        if row.kind == "tool_call":
            assert row.data["id"] not in called
            called.add(row.data["id"])
        if row.kind == "tool_result":
            assert row.data["id"] in called


@pytest.mark.parametrize("tool", TOOLS)
@settings(max_examples=60)
@given(kind=st.sampled_from([*KINDS, "?"]), extra=st.dictionaries(st.sampled_from(PLACES) | st.text(), JSON))
def test_a_line_of_any_shape_is_kept_or_ignored(tool: str, kind: str, extra: dict[str, Any]) -> None:
    line = json.dumps({"type": kind, **extra}).encode() + b"\n"
    told = of_kind(read(tool, line, captured(f"{tool}-first")), "text")
    assert told[-1:] == of_kind(read(tool, captured(f"{tool}-first")), "text")[-1:]


@pytest.mark.parametrize("tool", TOOLS)
def test_a_line_of_five_megabytes_is_kept_as_its_beginning(tool: str) -> None:
    line = json.dumps({"type": "message_end", "message": "x" * 5_000_000}).encode() + b"\n"
    rows = read(tool, line, captured(f"{tool}-first"))
    assert rows[0].kind == "raw"
    assert rows[0].data["bytes"] == len(line) - 1
    assert [row.kind for row in rows[1:]] == [row.kind for row in read(tool, captured(f"{tool}-first"))]


@pytest.mark.parametrize("tool", TOOLS)
def test_an_unknown_kind_of_line_is_kept(tool: str) -> None:
    (kept,) = of_kind(read(tool, b'{"type":"surprise","what":1}\n'), "raw")
    assert json.loads(kept["text"]) == {"type": "surprise", "what": 1}
