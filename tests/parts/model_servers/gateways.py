"""Recorded responses of gateways between clients and model servers, which change the shape of the responses."""

from __future__ import annotations

import json

from tests.parts.model_servers.shapes import DONE, EVENTS, JSON, STOP, Shape, chunk, data, lines, text, whole

_OTHERS = "sgl-project/sglang issue 3912, jakobdylanc/llmcord issue 84, NousResearch/hermes-agent issue 68451"

GATEWAYS: list[Shape] = [
    Shape(
        "gateways",
        "keep-alive that is no JSON",
        _OTHERS,
        b"data: ping\n\n" + data(text("Так")) + b"data: [PING]\n\n" + data(STOP) + DONE,
        "Так",
    ),
    Shape(
        "gateways",
        "no empty lines",
        _OTHERS,
        data(text("Добрий "), text("вечір"), STOP, end="\n") + b"data: [DONE]\n",
        "Добрий вечір",
    ),
    Shape(
        "gateways", "error is null", _OTHERS, data(text("Так") | {"error": None}, STOP | {"error": {}}) + DONE, "Так"
    ),
    Shape("gateways", "a stream as text", _OTHERS, data(text("Так"), STOP) + DONE, "Так", "text/plain"),
    Shape("gateways", "a stream as JSON", _OTHERS, data(text("Так"), STOP) + DONE, "Так", JSON),
    Shape("gateways", "JSON as a stream", _OTHERS, whole({"role": "assistant", "content": "Так"}), "Так", EVENTS),
    Shape(
        "gateways",
        "JSON of no type",
        _OTHERS,
        whole({"role": "assistant", "content": "Так"}),
        "Так",
        "application/octet-stream",
    ),
    Shape(
        "gateways",
        "JSON over lines",
        _OTHERS,
        json.dumps(json.loads(whole({"content": "Так"})), indent=2).encode(),
        "Так",
        JSON,
    ),
    Shape("gateways", "chunks in lines", _OTHERS, lines(text("Добрий "), text("вечір"), STOP), "Добрий вечір", JSON),
    Shape(
        "gateways",
        "the whole message at the end",
        _OTHERS,
        data(text("Так"), chunk(finish="stop", message={"content": "Так"})) + DONE,
        "Так",
    ),
    Shape(
        "gateways",
        "the whole message only",
        _OTHERS,
        data(chunk(finish="stop", message={"content": "Так"})) + DONE,
        "Так",
    ),
    Shape(
        "gateways",
        "no choices at all",
        _OTHERS,
        data({"object": "ping"}, {"choices": None}, text("Так"), STOP) + DONE,
        "Так",
    ),
    Shape(
        "gateways", "a byte that is no UTF-8", _OTHERS, data(text("Так!")).replace(b"!", b"\xd0") + DONE, "Так\ufffd"
    ),
    Shape("gateways", "nothing but an error page", _OTHERS, b"<html>", None, "text/html", "text/html"),
    Shape("gateways", "another shape", _OTHERS, b'{"detail":"not found"}', None, JSON, "an unknown format"),
]
