"""The order of steps and blocks in the builder."""

from hypothesis import given
from hypothesis import strategies as st

from workflows.arranging import DEEDS, block_of, done, keys, parts, well_formed

BLOCK = ["step-1", "open-2", "step-3", "step-4", "close-2", "step-5"]


def order(*deeds: str, marks: list[str] = BLOCK) -> str:
    """The order after these, short: steps as numbers, blocks as brackets."""
    for deed in deeds:
        marks = done(marks, deed)
    brackets = {"open": "(", "close": ")"}
    return "".join(brackets.get(parts(mark)[0], parts(mark)[1]) for mark in marks)


def test_steps_are_added_and_removed():
    assert order("add:step-1") == "16(34)5"
    assert order("add:open-2") == "1(634)5"
    assert order("add:") == "61(34)5"
    assert order("remove:step-3") == "1(4)5"
    assert order("remove:step-3", "remove:step-4") == "15"


def test_a_step_moves_through_the_edge_of_a_block():
    assert order("down:step-1") == "(134)5"
    assert order("up:step-5") == "1(345)"
    assert order("up:step-3") == "13(4)5"
    assert order("down:step-4") == "1(3)45"
    assert order("up:step-1") == order("down:step-5") == "1(34)5"


def test_a_block_moves_as_one():
    assert order("up:open-2") == "(34)15"
    assert order("down:open-2") == "15(34)"
    assert order("up:open-2", "up:open-2") == "(34)15"
    two = ["open-1", "step-2", "close-1", "open-3", "step-4", "close-3"]
    assert order("up:open-3", marks=two) == order("down:open-1", marks=two) == "(4)(2)"


def test_steps_are_put_in_and_taken_out():
    assert order("wrap:step-1") == "(1)(34)5"
    assert order("wrap:step-3") == "1(34)5"
    assert order("out:step-3") == "13(4)5"
    assert order("out:step-4") == "1(3)45"
    assert order("out:step-3", "out:step-4") == "1345"
    assert order("unwrap:open-2") == "1345"


def test_what_makes_no_sense_changes_nothing():
    for deed in ("", "explode", "up:", "up:step-9", "down:close-7", "out:step-1", "wrap:open-2", "unwrap:x"):
        assert order(deed) == "1(34)5"


MARKS = st.lists(st.one_of(st.from_regex(r"(step|open|close)-[0-9]", fullmatch=True), st.text(max_size=6)), max_size=14)


@given(
    MARKS, st.lists(st.tuples(st.sampled_from([*DEEDS, "x"]), st.from_regex(r"(step|open|close)-[0-9]")), max_size=6)
)
def test_whatever_is_sent_is_well_formed_and_no_step_is_lost(marks: list[str], deeds: list[tuple[str, str]]):
    made = well_formed(marks)
    assert keys(made, "step") == list(dict.fromkeys(parts(mark)[1] for mark in marks if parts(mark)[0] == "step"))
    for name, mark in deeds:
        before, made = set(keys(made, "step")), done(made, f"{name}:{mark}")
        if name not in {"add", "remove"}:
            assert set(keys(made, "step")) == before
    assert well_formed(made) == made
    assert len(keys(made, "open")) == len(keys(made, "close"))
    for block in keys(made, "open"):
        assert any(block_of(made, step) == block for step in keys(made, "step"))
