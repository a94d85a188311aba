"""Redaction is a pure function of the spool: no secret gets through, nothing else changes."""

import base64
import json
from itertools import pairwise
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codecourier.redact import Redactor, State, redact_spool

TOKEN = "sk-ant/api+03 ümlaut&'Zq9"
KEY = "\n".join(["-----BEGIN KEY-----", "MIIEpAIBAAKCAQEA3Tz2mr7S", "ZiAMfQyuvBjM9OiJ8aKa51==", "-----END KEY-----"])
LETTERS = st.text(alphabet="ab", min_size=6, max_size=12)


def feed_all(redactor: Redactor, chunks: list[bytes], t: int = 0) -> bytes:
    state, out = State(), b""
    for chunk in chunks:
        pieces, state = redactor.feed(state, "stdout", t, chunk)
        state = State.from_json(json.loads(json.dumps(state.to_json())))
        out += b"".join(data for _, data in pieces)
    return out + b"".join(data for _, data in redactor.end(state)[0])


def cut(data: bytes, places: list[int]) -> list[bytes]:
    marks = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in pairwise(marks)]


VALUES = st.lists(LETTERS, min_size=1, max_size=4)
TEXTS = st.lists(LETTERS | st.text("abc"), max_size=12)


@given(VALUES, TEXTS, st.lists(st.integers(0, 500)))
def test_any_split_gives_the_same_and_no_needle_is_left(values: list[str], texts: list[str], places: list[int]) -> None:
    redactor = Redactor({f"N{number}": value for number, value in enumerate(values)})
    data = "".join(texts).encode()
    whole = redactor.redact(data)
    assert feed_all(redactor, cut(data, places)) == whole
    assert not any(value.encode() in whole for value in values)


@given(st.binary(max_size=2000), st.lists(st.integers(0, 2000)))
def test_without_secrets_nothing_changes(data: bytes, places: list[int]) -> None:
    assert feed_all(Redactor({}), cut(data, places)) == data
    assert feed_all(Redactor({"SHORT": "12345"}), cut(data, places)) == data


@given(st.binary(max_size=300), st.binary(max_size=300), st.lists(st.integers(0, 900)))
def test_what_is_around_a_secret_stays(before: bytes, after: bytes, places: list[int]) -> None:
    out = feed_all(Redactor({"T": "longer-secret"}), cut(before + b"longer-secret" + after, places))
    assert out == before + b"[T redacted]" + after


ENCODED = {
    "raw": TOKEN,
    "hex": TOKEN.encode().hex(),
    "percent": quote(TOKEN, safe=""),
    "percent keeping slashes": quote(TOKEN),
    "percent in lower case": quote(TOKEN, safe="")
    .replace("%C3%BC", "%c3%bc")
    .replace("%2F", "%2f")
    .replace("%2B", "%2b"),
    "form": quote_plus(TOKEN),
    "json": json.dumps({"a": TOKEN}),
    "json in utf-8": json.dumps({"a": TOKEN}, ensure_ascii=False),
    "json in json": json.dumps(json.dumps({"a": TOKEN})),
    "shell": "'" + TOKEN.replace("'", "'\\''") + "'",
    "html": TOKEN.replace("&", "&amp;").replace("'", "&#x27;"),
}


@pytest.mark.parametrize("text", ENCODED.values(), ids=ENCODED.keys())
def test_an_encoded_value_is_found(text: str) -> None:
    out = Redactor({"T": TOKEN}).redact_text(f"<{text}>")
    assert "[T redacted]" in out
    assert "Zq9" not in out
    assert "api" not in out


@pytest.mark.parametrize("before", ["", "x", "xy", "user:"])
@pytest.mark.parametrize("after", ["", "z", "zz", "\n"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_base64_is_found_at_every_alignment(before: str, after: str, encode: object) -> None:
    assert callable(encode)
    code = encode((before + TOKEN + after).encode())
    out = Redactor({"T": TOKEN}).redact(code)
    assert b"[T redacted]" in out
    assert len(out.replace(b"[T redacted]", b"")) <= len(code) - len(TOKEN.encode()) * 4 // 3 + 3


def test_base64_broken_into_lines_is_found() -> None:
    secret = "".join(chr(33 + number * 7 % 90) for number in range(150))
    out = Redactor({"T": secret}).redact(base64.encodebytes(secret.encode()))
    assert len(out.replace(b"[T redacted]", b"").replace(b"\n", b"")) <= 16


def test_each_line_of_a_key_is_a_needle_but_its_frame_is_not() -> None:
    out = Redactor({"KEY": KEY}).redact(KEY.replace("\n", "\r\n").encode())
    assert out == b"-----BEGIN KEY-----\r\n[KEY redacted]\r\n[KEY redacted]\r\n-----END KEY-----"


def test_the_longest_of_two_values_gives_the_name() -> None:
    redactor = Redactor({"SHORT": "abcdef", "LONG": "abcdef-ghijkl"})
    assert feed_all(redactor, [b"abcd", b"ef", b"-ghi", b"jkl abcdef"]) == b"[LONG redacted] [SHORT redacted]"


def test_overlapping_values_leave_nothing_of_either() -> None:
    assert Redactor({"A": "abcdef", "B": "defghi"}).redact(b"<abcdefghi>") == b"<[A redacted]>"


def test_a_beginning_is_held_for_250_ms_of_the_spools_time() -> None:
    redactor = Redactor({"T": "secret-value"})
    pieces, state = redactor.feed(State(), "stdout", 100, b"$ secret-")
    assert pieces == [("stdout", b"$ ")]
    assert redactor.tick(state, 349) == ([], state)
    assert redactor.tick(state, 350) == ([("stdout", b"secret-")], State())
    assert redactor.feed(state, "stderr", 350, b"x")[0] == [("stdout", b"secret-"), ("stderr", b"x")]
    assert redactor.feed(state, "stdout", 349, b"value!")[0] == [("stdout", b"[T redacted]!")]


def test_streams_are_apart() -> None:
    redactor = Redactor({"T": "secret-value"})
    _, state = redactor.feed(State(), "stdout", 0, b"secret-")
    pieces, state = redactor.feed(state, "stderr", 1, b"value")
    assert pieces == [("stderr", b"value")]
    assert redactor.end(state)[0] == [("stdout", b"secret-")]


def test_a_long_run_of_overlapping_matches_is_not_held() -> None:
    redactor = Redactor({"T": "a" * 20})
    state, sizes = State(), []
    for _ in range(50):
        _, state = redactor.feed(state, "stdout", 0, b"a" * 1000)
        sizes.append(sum(len(held.data) for held in state.held.values()))
    assert max(sizes) < 20
    assert feed_all(redactor, [b"a" * 1000] * 50) == b"[T redacted]"


def test_the_reference_takes_whole_spools() -> None:
    def record(seq: int, t: int, data: bytes) -> bytes:
        return json.dumps({"seq": seq, "t": t, "stream": "pty", "data": base64.b64encode(data).decode()}).encode()

    near = [record(1, 0, b"a secret-"), record(2, 249, b"value b"), b'{"tick":900}', b'{"seq":3,"t":901,"exit":{}}']
    assert redact_spool(near, Redactor({"T": "secret-value"})) == {"pty": b"a [T redacted] b"}
    far = [record(1, 0, b"a secret-"), b'{"tick":250}', record(2, 300, b"value b")]
    assert redact_spool(far, Redactor({"T": "secret-value"})) == {"pty": b"a secret-value b"}


def test_messages_keep_lone_surrogates() -> None:
    assert Redactor({"T": "secret-value"}).redact_text("\udcff secret-value") == "\udcff [T redacted]"
