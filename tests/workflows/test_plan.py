"""The next move of a run is a function of its manifest and its rows."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from workflows.plan import JUDGE, STEP, TEST, Finish, Move, Place, Row, Start, Wait, block_of, plan, units


def step(*, verdict: bool = False, candidates: int = 0, test: str = "") -> dict[str, Any]:
    return {"writes": not verdict, "candidates": [{}] * candidates, "test_script": test}


def manifest(*steps: dict[str, Any], blocks: tuple[tuple[list[int], int], ...] = ()) -> dict[str, Any]:
    return {"steps": list(steps), "blocks": [{"steps": inside, "most": most} for inside, most in blocks]}


def done(*place: Any, **fields: Any) -> Row:
    return Row(Place(*place), **{"status": "succeeded", **fields})


LOOP = manifest(step(), step(verdict=True), step(), blocks=(([0, 1], 2),))


def test_a_run_begins_with_its_first_step():
    assert plan(LOOP, []) == Start((Place(STEP, 0),), None)


def test_it_waits_while_a_step_works():
    assert plan(LOOP, [Row(Place(STEP, 0), "running")]) == Wait()


def test_a_step_begins_from_the_newest_work_that_counts():
    rows = [done(STEP, 0), done(STEP, 1, passed=False)]
    assert plan(LOOP, rows) == Start((Place(STEP, 0, 2),), Place(STEP, 0))
    rows += [done(STEP, 0, 2), done(STEP, 1, 2, passed=True)]
    assert plan(LOOP, rows) == Start((Place(STEP, 2),), Place(STEP, 0, 2))
    assert plan(LOOP, [*rows, done(STEP, 2)]) == Finish("completed", "finished", Place(STEP, 2))


def test_what_is_never_approved_fails_with_its_last_work():
    rows = [done(STEP, 0), done(STEP, 1, passed=False), done(STEP, 0, 2), done(STEP, 1, 2, passed=False)]
    assert plan(LOOP, rows) == Finish("failed", "not_approved", Place(STEP, 0, 2), Place(STEP, 1, 2))


def test_a_failing_checker_outside_a_block_fails_the_run():
    alone = manifest(step(), step(verdict=True), step())
    found = plan(alone, [done(STEP, 0), done(STEP, 1, passed=False)])
    assert found == Finish("failed", "not_approved", Place(STEP, 0), Place(STEP, 1))


def test_a_step_that_fails_ends_the_run():
    found = plan(LOOP, [Row(Place(STEP, 0), "failed")])
    assert isinstance(found, Finish)
    assert (found.status, found.reason, found.at) == ("failed", "step_failed", Place(STEP, 0))


def test_candidates_work_at_once_are_tested_and_one_is_chosen():
    several = manifest(step(candidates=3, test="make test"), step())
    start = plan(several, [])
    assert isinstance(start, Start)
    assert [place.candidate for place in start.places] == [1, 2, 3]
    rows = [done(STEP, 0, 1, 1), Row(Place(STEP, 0, 1, 2), "failed"), done(STEP, 0, 1, 3)]
    assert plan(several, rows) == Start((Place(TEST, 0, 1, 1),), Place(STEP, 0, 1, 1))
    rows += [done(TEST, 0, 1, 1), Row(Place(TEST, 0, 1, 3), "failed")]
    assert plan(several, rows) == Start((Place(JUDGE, 0),), None)
    assert plan(several, [*rows, done(JUDGE, 0, choice=3)]) == Start((Place(STEP, 1),), Place(STEP, 0, 1, 3))
    wrong = plan(several, [*rows, done(JUDGE, 0, choice=2)])
    assert isinstance(wrong, Finish)
    assert wrong.reason == "not_judged"


def test_a_candidate_that_is_left_alone_needs_no_judge():
    several = manifest(step(candidates=2), step())
    rows = [done(STEP, 0, 1, 1), Row(Place(STEP, 0, 1, 2), "failed")]
    assert plan(several, rows) == Start((Place(STEP, 1),), Place(STEP, 0, 1, 1))


@st.composite
def manifests(draw: st.DrawFn) -> dict[str, Any]:
    """Any workflow that people may build: blocks have a checker."""
    steps: list[dict[str, Any]] = []
    blocks: list[tuple[list[int], int]] = []
    for _ in range(draw(st.integers(1, 4))):
        verdicts = draw(st.lists(st.booleans(), min_size=1, max_size=3))
        inside = draw(st.booleans())
        verdicts[-1] |= inside
        first = len(steps)
        steps += [
            step(verdict=one, candidates=0 if one else draw(st.sampled_from([0, 0, 2, 3])), test=draw(TESTS))
            for one in verdicts
        ]
        if inside:
            blocks.append((list(range(first, len(steps))), draw(st.integers(1, 4))))
    return manifest(*steps, blocks=tuple(blocks))


TESTS = st.sampled_from(["", "make test"])


def ended(place: Place, spec: dict[str, Any], draw: Any) -> Row:
    """How a started place ended, at random."""
    status = draw(st.sampled_from(["succeeded"] * 6 + ["failed"]))
    if place.kind == JUDGE:
        return Row(place, status, choice=draw(st.integers(1, 3)))
    if place.kind == STEP and not spec["writes"] and status == "succeeded":
        return Row(place, status, passed=draw(st.booleans()))
    return Row(place, status)


@given(manifests(), st.data())
def test_every_run_ends_and_starts_nothing_twice(found: dict[str, Any], data: st.DataObject):
    rows: dict[Place, Row] = {}
    most = sum(len(inside) * times * 8 for inside, times in units(found)) + 1
    for _ in range(most):
        move: Move = plan(found, rows.values())
        if isinstance(move, Finish):
            break
        assert isinstance(move, Start), "nothing is at work, so there is nothing to wait for"
        for place in move.places:
            assert place not in rows
            block = block_of(found, place.step)
            assert 1 <= place.iteration <= (block["most"] if block else 1)
            rows[place] = ended(place, found["steps"][place.step], data.draw)
        assert move.base is None or rows[move.base].status == "succeeded"
    else:
        raise AssertionError("it did not end")
    assert (move.status == "completed") is (move.reason == "finished")
    # The same rows in another order are the same run.
    assert plan(found, reversed(rows.values())) == move
