"""Valid responses of the agents core, in every form that model servers use."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from daarion_appservice.agents import core as core_module
from daarion_appservice.errors import CoreFailed
from tests.parts.agents_core import (
    DONE,
    EVENTS,
    Behaviour,
    ScriptedCore,
    answers,
    breaks_off_after,
    chunk,
    delta,
    event,
    says,
    sends,
    stalls_after,
    streams,
)
from tests.parts.core_client import QUESTION, Client
from tests.parts.model_servers import SHAPES, Shape

GOOD_INVOKE: dict[str, tuple[Behaviour, str]] = {
    "json": (says("Дощ і вітер"), "Дощ і вітер"),
    "json with a byte order mark": (sends(b'\xef\xbb\xbf{"output": "rain"}'), "rain"),
    "json with more in it": (answers({"output": "rain", "tokens": 3, "error": None}), "rain"),
    "streamed": (streams("Дощ", " і ", "вітер"), "Дощ і вітер"),
    "streamed, empty pieces": (streams("", "rain", ""), "rain"),
    "streamed, spaces first": (streams("\n", "  ", " rain", " "), "rain "),
    "streamed, comments": (sends(b": hello\n\n", delta("rain"), b":\n:\n", DONE, headers=EVENTS), "rain"),
    "streamed, CRLF": (sends(b'data: {"delta": "rain"}\r\n\r\ndata: [DONE]\r\n\r\n', headers=EVENTS), "rain"),
    "streamed, CR": (sends(b'data: {"delta": "rain"}\r\rdata: [DONE]\r\r', headers=EVENTS), "rain"),
    "streamed, data in lines": (sends(b'event: x\ndata: {"delta":\ndata: "rain"}\n\n', DONE, headers=EVENTS), "rain"),
    "streamed, no empty line at the end": (sends(delta("rain"), b"data: [DONE]", headers=EVENTS), "rain"),
    "streamed, byte by byte": (
        sends(*(bytes([each]) for each in 'data: {"delta": "дощ 🌧"}\n\ndata: [DONE]\n\n'.encode()), headers=EVENTS),
        "дощ 🌧",
    ),
    "streamed, cut within a character": (
        sends(b'data: {"delta": "\\ud83c"}\n\n', b'data: {"delta": "\\udf27!"}\n\n', DONE, headers=EVENTS),
        "🌧!",
    ),
    "streamed, and never closed": (stalls_after(delta("rain"), DONE), "rain"),
    "with a charset": (
        sends(b'{"output": "rain"}', headers={"Content-Type": "application/json; charset=utf-8"}),
        "rain",
    ),
    "no type": (sends(b'{"output": "rain"}', headers={}), "rain"),
    "201": (sends(b'{"output": "rain"}', status=201), "rain"),
    "not utf-8": (sends(b'{"output": "\xff!"}'), "\ufffd!"),
    "half a character": (sends(b'{"output": "\\ud83c!"}'), "\ufffd!"),
    "streamed, not utf-8": (sends(delta("one"), b'data: {"delta": "\xff"}\n\n', DONE, headers=EVENTS), "one\ufffd"),
    "streamed, half a character": (
        sends(delta("one"), b'data: {"delta": "\\udf27"}\n\n', DONE, headers=EVENTS),
        "one\ufffd",
    ),
    "streamed, events that are not pieces": (
        sends(delta("one"), event({"usage": 3}), event({"delta": None}), b"data: ping\n\n", DONE, headers=EVENTS),
        "one",
    ),
    "with thoughts": (says("<think>hm</think>rain"), "rain"),
    "streamed, with thoughts": (streams("<thi", "nk>hm</th", "ink>", "rain"), "rain"),
    "U+0000": (answers({"output": "ra\0in"}), "ra\ufffdin"),
    "as long as may be": (says("я" * 30_000), "я" * 30_000),
}


@pytest.mark.parametrize("behaviour", GOOD_INVOKE)
async def test_answers_are_understood_in_every_form(server: ScriptedCore, client: Client, behaviour: str) -> None:
    behave, text = GOOD_INVOKE[behaviour]
    server.next(behave)
    assert "".join(await client.ask()) == text
    assert client.calls("answered") == 1


GOOD_OPENAI: dict[str, tuple[Behaviour, str]] = {
    "streamed": (
        sends(chunk(None), chunk(""), chunk("Дощ"), chunk(" і вітер"), chunk(None, "stop"), DONE, headers=EVENTS),
        "Дощ і вітер",
    ),
    "[DONE] missing": (sends(chunk("rain"), chunk(None, "stop"), headers=EVENTS), "rain"),
    "finish_reason missing": (sends(chunk("rain"), DONE, headers=EVENTS), "rain"),
    "with tokens counted": (
        sends(event({"choices": []}), chunk("rain"), event({"choices": [], "usage": {}}), DONE, headers=EVENTS),
        "rain",
    ),
    "cut short by the model's limit": (sends(chunk("rain a"), chunk(None, "length"), headers=EVENTS), "rain a"),
    "in one": (answers({"choices": [{"message": {"content": "rain"}, "finish_reason": "stop"}]}), "rain"),
}


@pytest.mark.parametrize("shape", [pytest.param(shape, id=shape.id) for shape in SHAPES])
async def test_shape_of_model_server_is_read(server: ScriptedCore, openai: Client, shape: Shape) -> None:
    server.next(sends(shape.body, headers={"Content-Type": shape.content_type}))
    if shape.reply_text is not None:
        assert "".join(await openai.ask()) == shape.reply_text
    else:
        with pytest.raises(CoreFailed, match=shape.error):
            await openai.ask()


@pytest.mark.parametrize(
    "end", [stalls_after, breaks_off_after], ids=["the stream stays open", "the connection is cut"]
)
async def test_answer_that_finished_is_not_lost(
    server: ScriptedCore, openai: Client, monkeypatch: pytest.MonkeyPatch, end: Callable[..., Behaviour]
) -> None:
    monkeypatch.setattr(core_module, "_TRAILING_DATA_S", 2.0)
    server.next(end(chunk("Дощ", "stop"), chunk(" і вітер", "stop")))
    assert "".join(await openai.ask()) == "Дощ і вітер"


async def test_unopened_reasoning_hidden_after_two_replies(server: ScriptedCore, client: Client) -> None:
    reasoned = streams("Хм.", "</think>", "Так")
    server.next(reasoned, reasoned, reasoned, streams("Без думок"))
    with capture_logs() as logs:
        assert "".join(await client.ask()) == "Хм.</think>Так"
        assert "".join(await client.ask("other")) == "Хм.</think>Так"
        assert "".join(await client.ask()) == "Так"
        assert "".join(await client.ask()) == "Без думок"
    assert [entry["agent"] for entry in logs if entry["event"] == "core_reasoning_unopened"] == ["litopys", "other"]


@pytest.mark.parametrize("behaviour", GOOD_OPENAI)
async def test_openais_answers_are_understood_in_every_form(
    server: ScriptedCore, openai: Client, behaviour: str
) -> None:
    behave, text = GOOD_OPENAI[behaviour]
    server.next(behave)
    assert "".join(await openai.ask()) == text


async def test_chunks_arrive_during_generation(server: ScriptedCore, client: Client) -> None:
    server.next(stalls_after(delta("one"), delta("two")))
    async with client.core.generate(QUESTION) as pieces:
        assert [await anext(pieces), await anext(pieces)] == ["one", "two"]
        assert client.value("daarion_core_calls_in_flight") == 1
    assert client.value("daarion_core_calls_in_flight") == 0
