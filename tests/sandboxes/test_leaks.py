"""A key that an agent prints, in whatever form and cut wherever, reaches neither the output nor an event."""

import base64
import json
from collections.abc import Callable
from itertools import pairwise
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codecourier.redact import Redactor, State
from sandboxes.transcript import Transcript
from tests.sandboxes.plain_agent import Plain

FORMS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "base64": lambda key: base64.b64encode(key.encode()).decode(),
    "base64 of a header": lambda key: base64.b64encode(f"user:{key}\n".encode()).decode(),
    "base64 for URLs": lambda key: base64.urlsafe_b64encode(key.encode()).decode().rstrip("="),
    "URL": lambda key: quote(key, safe=""),
    "form": quote_plus,
    "JSON": lambda key: json.dumps(key)[1:-1],
    "JSON in JSON": lambda key: json.dumps(json.dumps(key))[1:-1],
    "hex": lambda key: key.encode().hex(),
}
# Everything that a key may be made of; ends that no neighbour in base64 can blur.
KEYS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=12, max_size=60)


def stored(redactor: Redactor, chunks: list[bytes]) -> tuple[bytes, Transcript, list[str]]:
    """Output, transcript and every draft that was shown, of what a job printed."""
    state, out, drafts = State(), b"", list[str]()
    transcript = Transcript(Plain(), redactor, {})
    for number, chunk in enumerate([*chunks, b""]):
        if number < len(chunks):
            pieces, state = redactor.feed(state, "stdout", 0, chunk)
        else:
            pieces, state = redactor.end(state)
        for _, data in pieces:
            out += data
            transcript.take(0, data)
        drafts.append(transcript.draft.get("text", ""))
    transcript.end(0)
    return out, transcript, drafts


def essence(form: str, code: str) -> str:
    """The part of an encoded key that says something: base64 has two letters at each end that its neighbours share."""
    return code[9:-4] if form == "base64 of a header" else code.rstrip("=")[2:-2]


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_a_printed_key_is_neither_in_the_output_nor_in_an_event(form: str, data: st.DataObject) -> None:
    key = data.draw(KEYS)
    code = FORMS[form](key)
    line = json.dumps({"kind": "text", "data": {"text": f"It is {code}."}}).encode() + b"\n"
    delta = json.dumps({"kind": "delta", "data": {"kind": "text", "text": f"I see {code} here"}}).encode() + b"\n"
    printed = f"$ env\nKEY={code}\n".encode() + line + delta
    places = data.draw(st.lists(st.integers(0, len(printed)), max_size=12))
    chunks = [printed[a:b] for a, b in pairwise([0, *sorted(places), len(printed)])]
    out, transcript, drafts = stored(Redactor({"KEY": key}), chunks)
    secret = essence(form, code)
    told = [str(row.data) for row in transcript.rows]
    assert secret not in out.decode()
    assert not any(secret in text for text in (*told, *drafts))
    assert len(told) == 3, "the words around it are kept"


@pytest.mark.parametrize("form", FORMS)
def test_it_may_be_cut_at_every_byte(form: str) -> None:
    key = 'sk-"canary\\+/&7f3b9c2d51e8'
    code = FORMS[form](key)
    printed = json.dumps({"kind": "text", "data": {"text": f"It is {code}."}}).encode() + b"\n"
    for place in range(len(printed)):
        out, transcript, _ = stored(Redactor({"KEY": key}), [printed[:place], printed[place:]])
        assert essence(form, code) not in out.decode()
        (row,) = transcript.rows
        assert "redacted" in row.data["text"]
        assert essence(form, code) not in row.data["text"]
