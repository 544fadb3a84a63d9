"""Requests of the agents core client: paths, headers and bodies of each dialect."""

from __future__ import annotations

import pytest

from daarion_appservice.errors import CoreFailed
from tests.parts.agents_core import (
    ScriptedCore,
    answers,
)
from tests.parts.core_client import QUESTION, Client


async def test_invoke_request_matches_contract(server: ScriptedCore, clients: list[Client]) -> None:
    client = Client(server.url + "/core", token="a secret")
    clients.append(client)
    async with client.core.generate(QUESTION) as pieces:
        assert [piece async for piece in pieces] == ["відповідь 1"]
    (received,) = server.requests
    assert (received.method, received.path) == ("POST", "/core/agents/litopys/invoke")
    assert received.content == {
        "input": "Що нового?",
        "context": {
            "kind": "mention",
            "user_id": "u_123",
            "room": "general",
            "history": [
                {"role": "user", "content": "Привіт"},
                {"role": "assistant", "content": "Добрий вечір"},
            ],
        },
    }
    assert received.headers["Authorization"] == "Bearer a secret"
    assert received.headers["Accept"] == "text/event-stream, application/json"
    assert received.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(("model", "asked_for"), [("", "litopys"), ("qwen3:8b", "qwen3:8b")])
async def test_openai_request_matches_openai_client(
    server: ScriptedCore, clients: list[Client], model: str, asked_for: str
) -> None:
    client = Client(server.url, kind="openai", model=model)
    clients.append(client)
    server.next(answers({"choices": [{"index": 0, "message": {"role": "assistant", "content": "Дощ"}}]}))
    async with client.core.generate(QUESTION) as pieces:
        assert [piece async for piece in pieces] == ["Дощ"]
    (received,) = server.requests
    assert (received.method, received.path) == ("POST", "/v1/chat/completions")
    assert received.content == {
        "model": asked_for,
        "messages": [
            {"role": "user", "content": "Привіт"},
            {"role": "assistant", "content": "Добрий вечір"},
            {"role": "user", "content": "Що нового?"},
        ],
        "stream": True,
        "user": "u_123",
    }
    assert "Authorization" not in received.headers


@pytest.mark.parametrize(
    ("agent", "path"),
    [
        ("a/../../admin", "/agents/a%2F..%2F..%2Fadmin/invoke"),
        ("a?b#c%2e", "/agents/a%3Fb%23c%252e/invoke"),
        ("літопис", "/agents/%D0%BB%D1%96%D1%82%D0%BE%D0%BF%D0%B8%D1%81/invoke"),
    ],
)
async def test_an_agents_id_leads_nowhere_else(server: ScriptedCore, client: Client, agent: str, path: str) -> None:
    await client.ask(agent)
    assert [received.path for received in server.requests] == [path]


@pytest.mark.parametrize("agent", ["", ".", "..", "a\nb", "a\0b", "x" * 256])
async def test_unsafe_agent_id_is_not_requested(server: ScriptedCore, client: Client, agent: str) -> None:
    with pytest.raises(CoreFailed, match="an agent with this id"):
        await client.ask(agent)
    assert server.requests == []


async def test_each_request_has_own_connection(server: ScriptedCore, client: Client) -> None:
    for _ in range(3):
        await client.ask()
    assert len({received.connection for received in server.requests}) == 3, "one used before may be closing just then"


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("", "/v1/chat/completions"),
        ("/", "/v1/chat/completions"),
        ("/v1", "/v1/chat/completions"),
        ("/v1/", "/v1/chat/completions"),
        ("/v1/chat/completions", "/v1/chat/completions"),
        ("/v1beta/openai", "/v1beta/openai/chat/completions"),
        ("/api/v3", "/api/v3/chat/completions"),
        (
            "/openai/deployments/gpt/?api-version=2024-10-21",
            "/openai/deployments/gpt/chat/completions?api-version=2024-10-21",
        ),
    ],
)
async def test_openai_request_uses_base_url(server: ScriptedCore, clients: list[Client], url: str, path: str) -> None:
    clients.append(Client(server.url + url, kind="openai"))
    server.next(answers({"choices": [{"message": {"content": "Дощ"}}]}))
    assert await clients[-1].ask() == ["Дощ"]
    assert [received.path for received in server.requests] == [path]


async def test_token_is_sent_in_the_header_that_is_set(server: ScriptedCore, clients: list[Client]) -> None:
    clients.append(Client(server.url, token="a secret", token_header="api-key"))
    await clients[-1].ask()
    (received,) = server.requests
    assert received.headers["api-key"] == "a secret"
    assert "Authorization" not in received.headers
