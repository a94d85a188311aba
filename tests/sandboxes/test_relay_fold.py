"""The fold: from a spool's lines to rows, the same however the bytes are cut and wherever it is taken up again."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codecourier.redact import Redactor, redact_spool
from sandboxes.models import Output
from sandboxes.relay.fold import Cursor, Endless, Fold, Row

SECRETS = {"TOKEN": "s3cret-value"}


def line(**fields: object) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def record(seq: int, data: bytes, stream: str = "stdout", t: int = 0) -> bytes:
    return line(seq=seq, t=t, stream=stream, data=base64.b64encode(data).decode())


def finished(seq: int, **fields: object) -> bytes:
    verdict = {"code": 0, "signal": None, "reason": None, "message": None, **fields}
    return line(seq=seq, t=0, exit=verdict)


def folded(spool: bytes, cap: int = 2**20, secrets: dict[str, str] | None = None) -> Fold:
    fold = Fold(Cursor(), Redactor(secrets or {}), cap)
    fold.take(spool)
    return fold


def streams(rows: list[Row]) -> dict[str, bytes]:
    found = dict[str, bytes]()
    for row in rows:
        name = Output.Stream(row.stream).label
        found[name] = found.get(name, b"") + bytes(row.data)
    return found


@given(
    st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.sampled_from([b"s3cret-", b"value", b"x\n", b"s3"]))),
    st.data(),
)
def test_stored_is_the_redacted_spool_wherever_it_is_cut_and_taken_up(
    parts: list[tuple[str, bytes]], data: st.DataObject
) -> None:
    lines = [record(n, text, stream) for n, (stream, text) in enumerate(parts, 1)] + [finished(len(parts) + 1)]
    spool = b"".join(lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(spool)), max_size=5)))
    fold, rows = Fold(Cursor(), Redactor(SECRETS), 2**20), list[Row]()
    for start, stop in zip([0, *cuts], [*cuts, len(spool)], strict=True):
        fold.take(spool[start:stop])
        if data.draw(st.booleans()):
            batch = fold.cut()
            rows += batch.rows
            fold.stored(batch)
        if data.draw(st.booleans()) and not fold.rows and not fold.exit:
            # Another relay goes on from what is stored.
            fold = Fold(fold.cursor, Redactor(SECRETS), 2**20)
            fold.take(spool[fold.cursor.offset : stop])
    rows += fold.cut().rows
    assert streams(rows) == redact_spool(lines, Redactor(SECRETS))
    assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
    assert fold.exit
    assert fold.cursor.offset == len(spool)


def test_a_row_that_is_being_stored_does_not_grow() -> None:
    fold = folded(record(1, b"one "))
    batch = fold.cut()
    fold.take(record(2, b"two"))
    assert [bytes(row.data) for row in batch.rows] == [b"one "]
    assert [bytes(row.data) for row in fold.cut().rows] == [b"one ", b"two"], "not stored, so it comes again unchanged"


def test_rows_are_bounded() -> None:
    fold = folded(b"".join(record(n, b"x" * 30_000) for n in range(1, 11)))
    assert [len(row.data) for row in fold.rows] == [65536] * 4 + [300_000 - 4 * 65536]


def test_a_record_that_comes_twice_is_stored_once() -> None:
    assert streams(folded(record(1, b"a") + record(1, b"a") + record(2, b"b")).rows) == {"stdout": b"ab"}


def test_missing_records_are_told() -> None:
    fold = folded(record(1, b"a\n") + record(5, b"e\n"))
    assert streams(fold.rows) == {"stdout": b"a\ne\n", "note": b"[3 records are missing here]\n"}


def test_a_refusal_is_no_part_of_the_spool() -> None:
    fold = folded(record(1, b"a\n") + line(error="there is no job"))
    assert fold.refusal
    assert fold.cursor.offset == len(record(1, b"a\n"))
    fold.rewind()
    assert not fold.refusal


def test_a_forged_refusal_inside_the_spool_is_counted_and_told() -> None:
    spool = record(1, b"a\n") + line(error="forged") + record(2, b"b\n")
    fold = folded(spool)
    assert fold.cursor.offset == len(spool)
    assert streams(fold.rows)["stdout"] == b"a\nb\n"
    assert b"damaged" in streams(fold.rows)["note"]


def test_a_spool_of_nonsense_reaches_the_cap() -> None:
    fold = folded(b"nonsense\n" * 5000, cap=10_000)
    assert sum(len(row.data) for row in fold.rows) < 12_000
    assert fold.cursor.offset == 9 * 5000


def test_a_line_without_an_end_is_refused() -> None:
    with pytest.raises(Endless):
        folded(b"x" * (3 * 2**20))


def test_what_is_held_is_not_overtaken_when_the_secret_is_gone() -> None:
    fold = folded(record(1, b"s3cret-"), secrets=SECRETS)
    assert not fold.rows
    other = Fold(fold.cursor, Redactor({}), 2**20)
    other.take(record(2, b"after"))
    assert streams(other.rows) == {"stdout": b"s3cret-after"}


def test_the_cursor_survives_its_dump() -> None:
    fold = folded(record(1, b"plain s3cret-", t=7), secrets=SECRETS)
    assert Cursor.load(fold.cursor.dump()) == (fold.cursor.stored, fold.cursor.state, "")
    assert Cursor.load(Cursor().dump()) == (0, Cursor().state, "")
