"""The fold from printed bytes to events: the same however they are cut, and nothing in them can break it."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codecourier.redact import Redactor
from sandboxes import transcript
from sandboxes.transcript import Transcript
from tests.sandboxes.plain_agent import Plain

SECRET = "s3cret-value"
REDACTOR = Redactor({"TOKEN": SECRET})
LEAVES = st.none() | st.booleans() | st.floats() | st.integers() | st.text()
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)


def fresh() -> Transcript:
    return Transcript(Plain(), REDACTOR, {"session": "", "baseline": {}})


def event(kind: str, /, **data: Any) -> bytes:
    return json.dumps({"kind": kind, "data": data}).encode() + b"\n"


def found(made: Transcript) -> list[tuple[int, str, dict[str, Any]]]:
    return [(row.seq, row.kind, row.data) for row in made.rows]


def read(data: bytes) -> Transcript:
    made = fresh()
    made.take(0, data)
    made.end(0)
    return made


@settings(max_examples=60)
@given(st.data())
def test_wherever_it_is_cut_and_whoever_goes_on_the_events_are_the_same(data: st.DataObject) -> None:
    lines = [event("text", text="one"), b'{"kind": "count"}\n', b"no json\n", event("delta", kind="text", text="x")]
    printed = b"".join(data.draw(st.lists(st.sampled_from(lines), max_size=8))) + b'{"kind": "count"}'
    whole = found(read(printed))
    made, rows = fresh(), list[tuple[int, str, dict[str, Any]]]()
    for start in range(len(printed)):
        if data.draw(st.booleans()) and start % 7 == 0:
            rows += found(made)
            following = Transcript(Plain(), REDACTOR, {}, made.seq)
            following.load(made.dump())
            made = following
        made.take(0, printed[start : start + 1])
    made.end(0)
    assert rows + found(made) == whole
    assert [seq for seq, _, _ in whole] == list(range(1, len(whole) + 1))


@settings(max_examples=60)
@given(JSON)
def test_any_json_at_all_is_kept_and_what_follows_is_read(value: Any) -> None:
    made = read(json.dumps(value).encode() + b"\n" + event("text", text="after"))
    assert found(made)[-1][1:] == ("text", {"text": "after"})
    json.loads(json.dumps([row.data for row in made.rows], allow_nan=False))


def test_what_is_not_understood_is_kept_as_it_was_printed() -> None:
    made = read(b'{"kind": 1}\n[]\n\xff\xfe\n' + b'{"a":' * 2000 + b"\n")
    assert [kind for _, kind, _ in found(made)] == ["raw"] * 4
    assert made.rows[0].data == {"text": '{"kind": 1}', "bytes": 11}


def test_a_line_without_measure_is_kept_by_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcript, "LINE_BYTES", 1000)
    made = fresh()
    for _ in range(50):
        made.take(0, b"x" * 100)
        assert len(made.dump()) < 2000
    made.take(0, b"\n" + event("text", text="after"))
    assert made.rows[0].data["bytes"] == 5000
    assert made.rows[1].data == {"text": "after"}


def test_the_database_can_store_whatever_comes() -> None:
    made = read(b'{"kind": "text", "data": {"text": "a\\u0000b\\ud800", "n": NaN, "m": 1e999}}\n')
    assert made.rows[0].data == {"text": "a\N{REPLACEMENT CHARACTER}b?", "n": None, "m": None}


def test_a_secret_that_is_put_together_from_pieces_is_redacted() -> None:
    made = fresh()
    for piece in (SECRET[:4], SECRET[4:9], SECRET[9:], " and more"):
        made.take(0, event("delta", kind="text", block="1", text=piece))
        assert SECRET[:4] not in made.draft["text"]
    assert made.draft["text"] == "[TOKEN redacted] and more"
    made.take(0, event("tool_call", id="1", input={"command": ["echo", SECRET], SECRET: 1}))
    assert made.rows[0].data == {
        "id": "1", "input": {"command": ["echo", "[TOKEN redacted]"], "[TOKEN redacted]": 1},
    }  # fmt: skip


def test_what_streamed_goes_when_the_whole_of_it_has_come() -> None:
    made = fresh()
    made.take(0, event("delta", kind="text", block="1", text="Hel"))
    made.take(0, event("delta", kind="text", block="1", text="lo"))
    assert made.draft == {"kind": "text", "block": "1", "text": "Hello"}
    made.take(0, event("text", text="Hello"))
    assert made.draft == {}
    made.take(0, event("delta", kind="text", block="2", text="cut off"))
    made.end(0)
    assert made.draft == {}


def test_long_texts_say_what_is_missing() -> None:
    made = read(event("text", text="y" * (transcript.TEXT_CHARS + 5)))
    assert made.rows[0].data["text"].endswith("\n[5 more characters are in the output]")
