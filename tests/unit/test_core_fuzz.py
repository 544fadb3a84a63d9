"""Hostile streams of an agents core, made by hypothesis: text or NotAnswer comes out, the same however the bytes are cut."""

from __future__ import annotations

import json
import tracemalloc
from collections import deque
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, TypeVar, get_args

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from daarion_appservice.agents.dialects import Dialect, InvalidResponse, Invoke, OpenAi
from daarion_appservice.agents.event_stream import EventStream, EventTooLong
from daarion_appservice.agents.reasoning_filter import ReasoningFilter, Thinking
from daarion_appservice.agents.response_body import MAX_JSON_BYTES
from daarion_appservice.agents.response_stream import ResponseParser
from tests.parts.hostile import VALUES, nested
from tests.parts.model_servers.shapes import DONE, EVENTS, JSON, LINES, chunk, data, text, usage, whole

Cut = TypeVar("Cut", str, bytes)

DIALECTS: list[Dialect] = [Invoke(), OpenAi("")]
CUTS = st.lists(st.integers(1, 40), max_size=30)
THINKING = st.sampled_from(get_args(Thinking))


def cut(all_of_it: Cut, sizes: Iterable[int]) -> list[Cut]:
    places: list[int] = [0]
    for size in sizes:
        places.append(min(places[-1] + size, len(all_of_it)))
    return [all_of_it[begin:end] for begin, end in pairwise([*places, len(all_of_it)]) if begin < end]


def outcome(
    dialect: Dialect, portions: Iterable[bytes], content_type: str = EVENTS, thinking: Thinking = "show"
) -> str:
    """Return the text of the reply, or the InvalidResponse."""
    try:
        pieces = ResponseParser(dialect, content_type, thinking)
        reply = [text for portion in portions for text in pieces.feed(portion)]
        return "".join(reply + ([] if pieces.is_complete else list(pieces.end())))
    except InvalidResponse as error:
        return f"! {error.problem}"


# --- bytes of any kind ----------------------------------------------------------------------------------

_CHUNKS = st.fixed_dictionaries(
    {},
    optional={
        "choices": st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "index": st.integers(-1, 2) | VALUES,
                    "delta": st.fixed_dictionaries({}, optional={"content": VALUES, "refusal": VALUES}) | VALUES,
                    "message": st.fixed_dictionaries({}, optional={"content": VALUES}) | VALUES,
                    "text": VALUES,
                    "finish_reason": st.sampled_from(["stop", "length", "error", "tool_calls", ""]) | VALUES,
                },
            )
            | VALUES,
            max_size=3,
        )
        | VALUES,
        "message": st.fixed_dictionaries({}, optional={"content": VALUES}) | VALUES,
        "done": VALUES,
        "done_reason": VALUES,
        "delta": VALUES,
        "output": VALUES,
        "error": VALUES,
        "object": st.just("error") | VALUES,
        "usage": VALUES,
    },
)
_JSON_TEXTS = st.one_of(
    _CHUNKS.map(json.dumps),
    st.sampled_from(
        [
            json.dumps(nested(300)),
            "[" * 5_000,
            '{"a":' * 5_000,
            '{"created": ' + "9" * 5_000 + "}",
            '{"choices": [{"delta": {"content": "\\ud800"}}]}',
            '{"choices": [{"delta": {"content": NaN}}]}',
            json.dumps({"error": nested(900)}),
            "[DONE]",
            "[done]",
            "{",
        ]
    ),
)
_ENDS = st.sampled_from(["\n", "\r\n", "\r", "\n\n", "\r\n\r\n", "\r\r", "", "\n\r"])
_FIELDS = st.sampled_from(
    ["data: ", "data:", "data", "event: ", "error: ", ": ", "id: ", "retry: ", "\ufeffdata: ", ""]
)
_LINES = st.tuples(_FIELDS, _JSON_TEXTS | st.text(max_size=5) | st.just("error"), _ENDS).map(
    lambda parts: "".join(parts).encode("utf-8", "surrogatepass")
)
_BODIES = st.lists(_LINES | st.binary(max_size=5) | st.just(b"\xef\xbb\xbf"), max_size=6).map(b"".join)


@settings(max_examples=300)
@given(_BODIES, CUTS, st.sampled_from(DIALECTS), st.sampled_from([EVENTS, JSON, LINES, "text/plain", ""]), THINKING)
def test_hostile_stream_however_cut_gives_the_same(
    body: bytes, sizes: list[int], dialect: Dialect, content_type: str, thinking: Thinking
) -> None:
    expected = outcome(dialect, [body], content_type, thinking)
    assert outcome(dialect, cut(body, sizes), content_type, thinking) == expected


def test_stream_larger_than_json_limit_is_read() -> None:
    body = data(*[text("Так")] * 7_000) + DONE
    assert len(body) > MAX_JSON_BYTES
    assert outcome(OpenAi(""), [body]) == "Так" * 7_000


@given(st.lists(st.sampled_from([b"data: x", b"x", b":x", b"", b"\n", b"\r", b"\r\n"]), max_size=30), CUTS)
def test_event_limit_however_cut_is_the_same(parts: list[bytes], sizes: list[int]) -> None:
    def read(portions: Iterable[bytes]) -> list[str] | None:
        stream = EventStream(max_event_bytes=12)
        try:
            return [event.data for portion in portions for event in stream.feed(portion)]
        except EventTooLong:
            return None

    body = b"".join(parts)
    assert read(cut(body, sizes)) == read([body]) == read(cut(body, [1] * len(body)))


# --- an answer that has begun ---------------------------------------------------------------------------

_WITHOUT_TEXT = st.sampled_from(
    [
        data(usage()),
        data({"choices": [], "prompt_filter_results": [{"prompt_index": 0}]}),
        data({"choices": None}, {"object": "ping"}, {"type": "ping"}),
        data(chunk(None), chunk(...), chunk({}), chunk({"reasoning_content": "Хм"}), text(None), text(7), text({})),
        data({"choices": ["x", None, 1]}, {"choices": {"0": 1}}, {"choices": [{"index": "0", "delta": 5}]}),
        data({"usage": {"total_tokens": 10**40}, "error": None, "error_message": ""}),
        data(1, None, "x", [1], [[]]),
        b": ping\n\n",
        b"data: ping\n\n",
        b"data\n\n",
        b"event: ping\ndata: {}\n\n",
        b"id: 1\nretry: 5\nxyz: {\n\n",
        b"\xff\xfe\n\n",
        b"data: \xff\n\n",
        b"\r\r\n\n",
    ]
)
_WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=5)


@given(st.lists(_WORDS | _WITHOUT_TEXT, max_size=12), CUTS, st.booleans())
def test_begun_answer_survives_unknown_events(parts: list[str | bytes], sizes: list[int], has_end: bool) -> None:
    body = b"".join(part if isinstance(part, bytes) else data(text(part)) for part in parts)
    body += data(chunk({}, "stop"), usage()) * has_end + DONE
    expected = "".join(part for part in parts if isinstance(part, str)).lstrip()
    reply = outcome(OpenAi(""), cut(body, sizes))
    assert reply == (expected or "! sent an empty reply")


@given(st.lists(st.tuples(st.integers(0, 2), _WORDS), min_size=1, max_size=12), st.booleans(), CUTS)
def test_choices_never_mix(reply: list[tuple[int, str]], together: bool, sizes: list[int]) -> None:
    choices = [{"index": index, "delta": {"content": word}} for index, word in reply]
    events = [{"choices": choices}] if together else [{"choices": [choice]} for choice in choices]
    read = min(index for index, _ in reply) if together else reply[0][0]
    expected = "".join(word for index, word in reply if index == read).lstrip()
    body = data(*events) + DONE
    assert outcome(OpenAi(""), cut(body, sizes)) == (expected or "! sent an empty reply")


@pytest.mark.parametrize(
    "choices",
    [
        [{"index": 1, "message": {"content": "Ні"}}, {"index": 0, "message": {"content": "Так"}}],
        [{"index": 1, "message": {"content": "Ні"}}, {"message": {"content": "Так"}}],
        [{"index": 0, "message": {"content": ""}}, {"index": 1, "message": {"content": "Так"}}],
        [None, {"index": 3, "message": {"content": "Так"}}],
    ],
)
def test_whole_answer_is_the_first_choice_with_text(choices: list[Any]) -> None:
    assert outcome(OpenAi(""), [json.dumps({"choices": choices}).encode()], JSON) == "Так"


def test_another_choice_that_ends_first_cuts_nothing() -> None:
    first, second = text("Добрий "), text("вечір")
    other = chunk({"content": "Ні"}, "stop", index=1)
    pieces = ResponseParser(OpenAi(""), EVENTS)
    assert list(pieces.feed(data(first, other))) == ["Добрий "]
    assert not pieces.may_end
    assert list(pieces.feed(data(second, chunk({}, "stop")) + DONE)) == ["вечір"]


@pytest.mark.parametrize("size", range(1, 60))
def test_finished_response_survives_a_cut_event(size: int) -> None:
    body = data(text("Так"), chunk({}, "stop")) + data(usage())[:size]
    assert outcome(OpenAi(""), [body]) == "Так"


def test_chunks_of_legacy_completions_are_read() -> None:
    events = [{"choices": [{"index": 0, "text": word}]} for word in ("Добрий ", "вечір")]
    assert outcome(OpenAi(""), [data(*events) + DONE]) == "Добрий вечір"


@pytest.mark.parametrize(
    "part", [{"text": "Так"}, {"type": "text_delta", "text": "Так"}, {"type": "output_text", "text": "Так"}]
)
def test_text_part_of_any_type_is_read(part: Any) -> None:
    unread = [{"type": "thinking", "text": "Хм"}, {"type": 1, "text": "Хм"}, {"text": 1}]
    assert outcome(OpenAi(""), [data(text([part, *unread])) + DONE]) == "Так"


def test_error_that_is_nested_deeply_is_no_answer() -> None:
    deep = "[" * 900 + "]" * 900
    assert outcome(OpenAi(""), [f'data: {{"error": {deep}}}\n\n'.encode()]) == "! reported an error"


# --- reasoning ------------------------------------------------------------------------------------------

_TAGS = st.sampled_from(
    [
        *(
            "<think>",
            "</think>",
            "<THINK>",
            "</Think>",
            "<think type='a'>",
            "<think ",
            "<think/>",
            "</think >",
            "<thinking>",
        ),
        *(
            "</thinking>",
            "[THINK]",
            "[/THINK]",
            "◁think▷",
            "◁/think▷",
            "<|channel>thought",
            "<channel|>",
            "<|",
            "<",
            "[",
            "`",
        ),
        *(
            "```",
            "``",
            "\n",
            " ",
            "  ",
            "<|channel|>",
            "<|start|>",
            "<|message|>",
            "<|end|>",
            "<|return|>",
            "<|constrain|>",
        ),
        *("analysis", "final", "commentary to=x", "assistant", "assistantfinal", "A", "a", "хм", ">", "x" * 210),
    ]
)


@settings(max_examples=500)
@given(st.lists(_TAGS, max_size=14).map("".join), CUTS, st.booleans())
@example("хм\n</think>Так", [1] * 20, False)
@example("`</think>`", [9], True)
@example("<think [THINK]>", [], False)
@example("<think ```>", [], False)
@example("<|channel|>final" + "x" * 210 + "<|message|>", [1] * 40, False)
def test_reasoning_however_cut_is_the_same(written: str, sizes: list[int], begins_inside: bool) -> None:
    def read(deltas: Iterable[str]) -> str:
        thoughts = ReasoningFilter(begins_inside=begins_inside)
        return "".join([*map(thoughts.feed, deltas), thoughts.end()])

    assert read(cut(written, sizes)) == read([written]) == read(written)


@settings(max_examples=300)
@given(st.lists(_TAGS, max_size=10).map("".join), st.booleans())
def test_nothing_is_shown_that_was_not_written(written: str, begins_inside: bool) -> None:
    thoughts = ReasoningFilter(begins_inside=begins_inside)
    signs = iter(written)
    assert all(sign in signs for sign in thoughts.feed(written) + thoughts.end())


@pytest.mark.parametrize(
    "written",
    [
        "<think><think>a</think>b</think>Так",
        "<think>a<thinking>b</thinking>c</think>Так",
        "<think>a <thinking> b</think>Так",
        "<think>the tag <think> opens</think>Так",
        "<think>the tag `</think>` closes</think>Так",
        "<think>it is `x`</think>Так",
        "<think time='5s'>a</think>Так",
        '<thinking\teffort="low">a</thinking >Так',
        "<|START_THINKING|>a<|END_THINKING|>Так",
        "<|channel>thought\na\n<channel|>Так",
        "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>Так",
        "<|start|>assistant<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>Так<|return|>",
        "<|channel|>commentary to=f <|constrain|>json<|message|>{}<|call|><|start|>assistant<|channel|>final<|message|>Так",
        "<|channel|>analysis\n<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>finalТак",
        "<|channel|>final <|constrain|>text<|message|>Так<|return|>",
        "<|channel|>analysis<|message|>a<|end|>Так",
        "<|start|>assistant<|message|>Так<|end|>",
        "analysisWe need to greet.assistantfinalТак",
        "analysisWe callassistantcommentary to=functions.f json{}assistantanalysisDone.assistantfinalТак",
    ],
)
def test_reasoning_is_left_out_streamed_and_whole(written: str) -> None:
    streamed = data(*map(text, written), chunk({}, "stop")) + DONE
    assert outcome(OpenAi(""), [streamed], EVENTS, "hide") == "Так"
    assert outcome(OpenAi(""), [whole({"content": written})], JSON, "hide") == "Так"
    assert outcome(OpenAi(""), [streamed], EVENTS, "hide_until_end_tag") == "Так"
    assert outcome(OpenAi(""), [streamed], EVENTS, "show") == written


@pytest.mark.parametrize("written", ["<think/>Так", "<think />Так", "Так<thought/>"])
def test_empty_tag_is_left_out(written: str) -> None:
    assert outcome(OpenAi(""), [data(*map(text, written)) + DONE], EVENTS, "hide") == "Так"


@pytest.mark.parametrize(
    "written",
    [
        "analysis of it",
        "analysisResult is a name",
        "Кінець <|end|> і <|channel|>final<|message|> є токенами",
        "Тег `</think>` закриває",
        "Тег </think> закриває",
        "`<think>хм</think>` є блоком",
        "```\nхм</think>\n```",
        "a <think" + " x" * 200 + "> b",
        "1 < 2",
        "◁",
    ],
)
@pytest.mark.parametrize("thinking", ["hide", "show"])
def test_text_that_speaks_of_tags_stays(written: str, thinking: Thinking) -> None:
    assert outcome(OpenAi(""), [data(*map(text, written)) + DONE], EVENTS, thinking) == written
    assert outcome(OpenAi(""), [whole({"content": written})], JSON, thinking) == written


@pytest.mark.parametrize(
    "written", ["Хм.\n</think>\n\nТак", "Хм.</think>Так", "Тег <think> є.\n</think>\nТак", "</think>Так"]
)
def test_reasoning_that_the_prompt_opened_is_left_out(written: str) -> None:
    assert outcome(OpenAi(""), [data(*map(text, written)) + DONE], EVENTS, "hide_until_end_tag") == "Так"
    assert outcome(OpenAi(""), [data(text(written)) + DONE], EVENTS, "hide_until_end_tag") == "Так"


@pytest.mark.parametrize("written", ["Хм.\n</think>\n\nТак", "Хм, `x`.</think>391", "</think>Так"])
def test_unopened_reasoning_is_no_part_of_response(written: str) -> None:
    assert outcome(OpenAi(""), [whole({"content": written})], JSON, "hide") == written.partition("</think>")[2].lstrip()


# --- memory and time ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "portion",
    [
        pytest.param(b"data: " + b"x" * 4_096 + b"\n", id="one event without end"),
        pytest.param(b"x" * 4_096, id="one line without end"),
        pytest.param((b": " + b"x" * 60 + b"\n") * 65, id="comments without end"),
        pytest.param(data(text("<think " + "x" * 190)) * 20, id="attributes without end"),
        pytest.param(data(text("<|channel|>" + "x" * 199)) * 20, id="channels without end"),
        pytest.param(data(text("```<")) * 20, id="fences without end"),
    ],
)
def test_stream_without_end_holds_bounded_memory(portion: bytes) -> None:
    tracemalloc.start()
    try:
        pieces = ResponseParser(OpenAi(""), EVENTS, "hide")
        with pytest.raises(InvalidResponse, match="more than"):
            deque((text for _ in range(10 * MAX_JSON_BYTES // len(portion)) for text in pieces.feed(portion)), maxlen=0)
        assert tracemalloc.get_traced_memory()[1] < 40 * MAX_JSON_BYTES
    finally:
        tracemalloc.stop()


def test_json_without_line_ends_takes_linear_time() -> None:
    body = json.dumps({"output": "x" * 20_000}).encode()
    blank = b" " * 900_000
    assert outcome(Invoke(), [*cut(blank, [1_000] * 900), *cut(body, [1] * len(body))], JSON) == "x" * 20_000
