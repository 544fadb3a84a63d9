"""Recorded responses of model servers are parsed as replies or errors, however their bytes are cut."""

from __future__ import annotations

import pytest

from daarion_appservice.agents.dialects import InvalidResponse, OpenAi
from daarion_appservice.agents.reasoning_filter import ReasoningFilter, Thinking
from daarion_appservice.agents.response_stream import ResponseParser
from tests.parts.model_servers import SHAPES, Shape
from tests.parts.model_servers.shapes import DONE, EVENTS, data, text, whole

SIZES = [1, 7, 1 << 20]


def read(body: bytes, size: int, content_type: str = EVENTS, thinking: Thinking = "hide") -> str:
    pieces = ResponseParser(OpenAi(""), content_type, thinking)
    reply_text = [each for at in range(0, len(body), size) for each in pieces.feed(body[at : at + size])]
    return "".join(reply_text + ([] if pieces.is_complete else list(pieces.end())))


@pytest.mark.parametrize("shape", [pytest.param(shape, id=shape.id) for shape in SHAPES])
@pytest.mark.parametrize("size", SIZES)
def test_shape_of_server_is_read(shape: Shape, size: int) -> None:
    if shape.reply_text is not None:
        assert read(shape.body, size, shape.content_type) == shape.reply_text
    else:
        with pytest.raises(InvalidResponse, match=shape.error):
            read(shape.body, size, shape.content_type)


def test_shapes_cover_every_server_both_ways() -> None:
    servers = ["OpenAI", "Azure", "vLLM", "llama.cpp", "Ollama", "LM Studio", "LiteLLM", "LocalAI", "Anthropic"]
    assert {shape.server for shape in SHAPES} >= set(servers)


@pytest.mark.parametrize("cut", range(1, 40))
def test_answer_that_finished_survives_a_missing_end(cut: int) -> None:
    body = data(text("Так"), text("", "stop"))
    assert read(body + DONE[: -min(cut, len(DONE))], 1 << 20) == "Так"


def test_broken_json_in_the_middle_is_no_answer() -> None:
    with pytest.raises(InvalidResponse, match="not JSON"):
        read(data(text("До")) + b'data: {"choices": [{"del\n\n' + DONE, 1 << 20)


@pytest.mark.parametrize(
    ("written", "reply_text"),
    [
        ("<think>хм</think>Так", "Так"),
        ("<thinking>хм</thinking>\n\nТак", "Так"),
        ("\n <THINK>хм\n\nхм</THINK>\nТак", "Так"),
        ("<think>1</think>\n<think>2</think>\nТак", "Так"),
        ("<think></think>Так", "Так"),
        ("<thought>хм</thought>Так", "Так"),
        ("[THINK]хм[/THINK]Так", "Так"),
        ("Перше <think>хм</think>друге", "Перше друге"),
        ("Перше\n<think>хм</think>\nдруге", "Перше\n\nдруге"),
        ("Тег `<think>` відкриває, `</think>` закриває", "Тег `<think>` відкриває, `</think>` закриває"),
        ("```html\n<think>хм</think>\n```\nТак", "```html\n<think>хм</think>\n```\nТак"),
        ("```\nx\n```\n<think>хм</think>Так", "```\nx\n```\nТак"),
        ("Тег <think> не закрито", "Тег <think> не закрито"),
        ("1 < 2 <t <thin", "1 < 2 <t <thin"),
        ("<thinker>Так", "<thinker>Так"),
        ("<thınk>Так", "<thınk>Так"),
        ("<reaſoning>Так</reaſoning>", "<reaſoning>Так</reaſoning>"),
        ("<THINK>хм</Think>Так", "Так"),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 100])
def test_thoughts_are_left_out_of_any_portions(written: str, reply_text: str, size: int) -> None:
    portions = [written[at : at + size] for at in range(0, len(written), size)]
    assert read(data(*map(text, portions), text("", "stop")) + DONE, 1 << 20) == reply_text
    assert read(whole({"content": written}), 1 << 20, "application/json") == reply_text
    assert read(data(*map(text, portions)) + DONE, 1 << 20, thinking="show") == written.lstrip()


@pytest.mark.parametrize("written", ["<think>хм", "<think>хм</think>", "<think>хм</think>\n "])
def test_answer_of_nothing_but_thoughts_is_none(written: str) -> None:
    with pytest.raises(InvalidResponse, match="empty reply"):
        read(data(*map(text, written), text("", "stop")) + DONE, 1 << 20)


def test_thoughts_that_the_prompt_opened_are_left_out() -> None:
    written = "Хм, подумаю.\n</think>\n\nТак"
    streamed = data(*map(text, written)) + DONE
    assert read(streamed, 1 << 20, thinking="hide_until_end_tag") == "Так"
    assert read(whole({"content": written}), 1 << 20) == "Так"
    assert read(data(*map(text, "Без думок")) + DONE, 1 << 20, thinking="hide_until_end_tag") == "Без думок"


def test_text_is_shown_while_it_comes() -> None:
    thoughts = ReasoningFilter()
    assert [thoughts.feed(each) for each in ("<think>хм", "</think>Добрий", " вечір")] == ["", "Добрий", " вечір"]


def test_many_tags_take_linear_time() -> None:
    thoughts = ReasoningFilter()
    assert (
        thoughts.feed("<think></think>" * 70_000 + "```" * 100_000 + "Так") + thoughts.end() == "```" * 100_000 + "Так"
    )
