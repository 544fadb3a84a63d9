"""Responses of the agents core are parsed alike however their bytes are cut, and limited in size."""

from __future__ import annotations

import json
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daarion_appservice.agents.dialects import InvalidResponse, Invoke, OpenAi
from daarion_appservice.agents.event_stream import EventStream
from daarion_appservice.agents.response_body import MAX_JSON_BYTES
from daarion_appservice.agents.response_stream import ResponseParser

CUTS = st.lists(st.integers(0, 400), max_size=30)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def portions(whole: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    return [whole[begin:end] for begin, end in pairwise(places)]


def events(*fed: bytes) -> list[str]:
    stream = EventStream()
    read = [event for portion in fed for event in stream.feed(portion)] + list(stream.end())
    return [event.data for event in read]


# --- server-sent events -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        pytest.param(b"data: a\n\ndata: b\n\n", ["a", "b"], id="two"),
        pytest.param(b"data: a\ndata:b\ndata\n\n", ["a\nb\n"], id="lines are one event"),
        pytest.param(b"data:  a\n\n", [" a"], id="one space belongs to the field"),
        pytest.param(b":data: a\n\nid: 1\nevent: x\nretry: 5\n\n", [], id="comments and fields that we need not"),
        pytest.param(b"\n\n\n\ndata: a\n\n\n\n", ["a"], id="empty lines"),
        pytest.param(b"\xef\xbb\xbfdata: a\n\n", ["a"], id="byte order mark"),
        pytest.param(b"data: a\r\n\r\ndata: b\r\rdata: c\n\n", ["a", "b", "c"], id="each end of a line"),
        pytest.param(b"data: a", ["a"], id="no end at all"),
        pytest.param(
            "data: \u2028\x85\x0b\n\n".encode(), ["\u2028\x85\x0b"], id="what only Python takes for a line's end"
        ),
    ],
)
def test_event_stream_is_parsed_by_specification(stream: bytes, expected: list[str]) -> None:
    assert events(stream) == expected
    assert events(*(bytes([each]) for each in stream)) == expected


@given(
    st.lists(st.lists(TEXT.map(lambda text: text.replace("\r", "").replace("\n", "")), min_size=1), max_size=5),
    st.sampled_from(["\n", "\r\n", "\r"]),
    CUTS,
)
def test_events_are_independent_of_chunking(written: list[list[str]], end: str, cuts: list[int]) -> None:
    stream = "".join("".join(f"data: {line}{end}" for line in event) + end for event in written).encode()
    assert events(*portions(stream, cuts)) == ["\n".join(event) for event in written]


def test_endless_line_takes_linear_time() -> None:
    stream = EventStream()
    for _ in range(100_000):
        assert list(stream.feed(b"x")) == []
    assert stream.pending == 100_000


# --- answers ------------------------------------------------------------------------------------------


def read_text(pieces: ResponseParser, fed: list[bytes]) -> str:
    written = [text for portion in fed for text in pieces.feed(portion)]
    return "".join(written + ([] if pieces.is_complete else list(pieces.end())))


@given(st.lists(TEXT, max_size=8), st.booleans(), CUTS)
def test_streamed_reply_is_independent_of_chunking(texts: list[str], escaped: bool, cuts: list[int]) -> None:
    deltas = [json.dumps({"delta": text}, ensure_ascii=escaped) for text in texts]
    stream = "".join(f"data: {each}\n\n" for each in [*deltas, "[DONE]"]).encode()
    expected = "".join(texts).replace("\0", "\ufffd").lstrip()
    # Without the filter: hypothesis tries strings of the code, such as "<think>", of which nothing would be shown.
    pieces = ResponseParser(Invoke(), "text/event-stream", "show")
    if expected:
        assert read_text(pieces, portions(stream, cuts)) == expected
    else:
        with pytest.raises(InvalidResponse, match="an empty reply"):
            read_text(pieces, portions(stream, cuts))


OUTSIDE = st.text("ab \n", max_size=4)
REASONING = st.tuples(
    st.sampled_from([("<think>", "</think>"), ("[THINK]", "[/THINK]")]), st.text("<[/ab", max_size=4)
).map(lambda block: block[0][0] + block[1] + block[0][1])


@given(st.lists(OUTSIDE | REASONING, max_size=8), CUTS)
def test_reasoning_is_hidden_with_any_chunking(parts: list[str], cuts: list[int]) -> None:
    expected = "".join(part for part in parts if part[:1] not in {"<", "["}).lstrip()
    answer = "".join(parts)
    places = sorted({0, len(answer), *(cut for cut in cuts if cut < len(answer))})
    deltas = [json.dumps({"delta": answer[begin:end]}) for begin, end in pairwise(places)]
    stream = "".join(f"data: {each}\n\n" for each in [*deltas, "[DONE]"]).encode()
    pieces = ResponseParser(Invoke(), "text/event-stream", "hide")
    if expected:
        assert read_text(pieces, [stream]) == expected
    else:
        with pytest.raises(InvalidResponse, match="an empty reply"):
            read_text(pieces, [stream])


@given(st.text(st.characters(), min_size=1), st.integers(1, 3))
def test_split_surrogate_pairs_are_joined(text: str, size: int) -> None:
    units = ("!" + text).encode("utf-16-le", "surrogatepass")
    cut = [units[at : at + 2 * size].decode("utf-16-le", "surrogatepass") for at in range(0, len(units), 2 * size)]
    stream = "".join(f"data: {json.dumps({'delta': each})}\n\n" for each in [*cut]) + "data: [DONE]\n\n"
    # A half that has no other is U+FFFD.
    expected = units.decode("utf-16-le", "replace").replace("\0", "\ufffd")
    assert read_text(ResponseParser(Invoke(), "text/event-stream"), [stream.encode()]) == expected


@given(st.binary(max_size=200), st.sampled_from(["application/json", "text/event-stream"]), st.booleans())
def test_any_response_is_valid_or_refused(body: bytes, content_type: str, is_openai: bool) -> None:
    pieces = ResponseParser(OpenAi("") if is_openai else Invoke(), content_type)
    assert is_answer_or_none(pieces, [body, b"\n\ndata: [DONE]\n\n"])


def is_answer_or_none(pieces: ResponseParser, fed: list[bytes]) -> bool:
    try:
        return bool(read_text(pieces, fed))
    except InvalidResponse:
        return True


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["delta", "choices", "output", "content", "message", "finish_reason", "error"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@given(JSON_VALUES, st.booleans(), st.booleans())
def test_json_of_any_shape_raises_nothing_else(content: object, is_stream: bool, is_openai: bool) -> None:
    pieces = ResponseParser(
        OpenAi("") if is_openai else Invoke(), "text/event-stream" if is_stream else "application/json"
    )
    encoded = json.dumps(content)
    body = f"data: {encoded}\n\n" if is_stream else encoded
    assert is_answer_or_none(pieces, [body.encode()])


def test_endless_response_is_refused() -> None:
    tracemalloc.start()
    try:
        pieces = ResponseParser(Invoke(), "text/event-stream")
        with pytest.raises(InvalidResponse, match="more than"):
            read_text(pieces, [b"data: " + b"x" * 65_536] * 1_000)
        assert tracemalloc.get_traced_memory()[1] < 5 * MAX_JSON_BYTES
    finally:
        tracemalloc.stop()
