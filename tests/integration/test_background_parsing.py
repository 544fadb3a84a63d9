"""HTML and Markdown of messages are parsed in a thread before the transaction, on every route."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from daarion_appservice.city import html_sanitizing, markdown, markdown_rendering
from daarion_appservice.city.types import Author, AuthorKind
from daarion_appservice.matrix.inbound import worker as worker_module
from tests.parts.inbound_harness import InboundHarness, inbound_harness, message_event

HTML = "<b>a</b>" * 4_000
BODY = "@nobody " * 4_000
SCRIBE = Author(AuthorKind.AGENT, "scribe", "Писар")


@pytest.fixture
async def harness(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[InboundHarness]:
    monkeypatch.setattr(worker_module, "_MIN_RETRY_MS", 4)
    async with inbound_harness(database_url) as harness:
        yield harness


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """By what is parsed (html, markdown): the names of the threads it was parsed in."""
    threads: dict[str, set[str]] = {"html": set(), "markdown": set()}
    balance_tags, protect = html_sanitizing._balance_tags, markdown.protect_identifiers

    def note_html(html: str) -> str | None:
        threads["html"].add(threading.current_thread().name.partition("_")[0])
        return balance_tags(html)

    def note_markdown(body: str) -> str:
        threads["markdown"].add(threading.current_thread().name.partition("_")[0])
        return protect(body)

    monkeypatch.setattr(html_sanitizing, "_balance_tags", note_html)
    for module in (markdown, markdown_rendering):
        monkeypatch.setattr(module, "protect_identifiers", note_markdown)
    return threads


def content(body: str = BODY, html: str = HTML, more: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"msgtype": "m.text", "body": body, "format": "org.matrix.custom.html", "formatted_body": html} | (
        more or {}
    )


def edit_of(event_id: str, body: str = BODY + "edited") -> dict[str, Any]:
    relation = {"rel_type": "m.replace", "event_id": event_id}
    return content(more={"m.new_content": content(body), "m.relates_to": relation})


REPLY = content(more={"m.relates_to": {"m.in_reply_to": {"event_id": "$0"}}})
CASES: dict[str, list[list[dict[str, Any]]]] = {
    "message": [[message_event("$1", content=content())]],
    "mentions": [[message_event("$1", content=content(more={"m.mentions": {}}))]],
    "reply": [[message_event("$0", content=content("plain", "<i>p</i>")), message_event("$1", content=REPLY)]],
    "edit in one batch": [[message_event("$1", content=content()), message_event("$2", content=edit_of("$1"))]],
    "edit in the next batch": [[message_event("$1", content=content())], [message_event("$2", content=edit_of("$1"))]],
    "edit before its message": [[message_event("$2", content=edit_of("$1"))], [message_event("$1", content=content())]],
    "one by one": [[message_event("$bad"), message_event("$1", content=content())]],
}


@pytest.mark.parametrize("case", CASES)
async def test_messages_from_matrix_are_parsed_in_the_thread(
    harness: InboundHarness, parsed: dict[str, set[str]], case: str
) -> None:
    harness.handlers.broken = {"$bad"}
    for batch in CASES[case]:
        await harness.store(*batch)
        await harness.handle_all()

    last = (await harness.in_room())[-1]
    assert parsed == {"html": {"markup"}, "markdown": {"markup"}}
    assert (last.formatted_body, last.body.startswith(BODY)) == (HTML, True)
    assert last.body.endswith("edited") == ("edit" in case)


async def test_html_parse_failure_fails_one_event(harness: InboundHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    sanitize_html = html_sanitizing.sanitize_html

    def poisoned(html: str) -> str | None:
        if "poison" in html:
            raise RecursionError(html)
        return sanitize_html(html)

    monkeypatch.setattr(html_sanitizing, "sanitize_html", poisoned)
    await harness.store(
        message_event("$1", content=content("one", "<b>one</b>")),
        message_event("$2", content=content("two", "<b>poison</b>")),
        message_event("$3", content=content("three", "<b>three</b>")),
    )
    await harness.handle_all()
    assert await harness.bodies() == ["one", "three"]
    assert [row.event_id for row in await harness.dead()] == ["$2"]


async def test_long_texts_are_parsed_in_thread(harness: InboundHarness, parsed: dict[str, set[str]]) -> None:
    posted = await harness.messaging.post(SCRIBE, "general", BODY)
    edited = await harness.messaging.message_edits.edit(SCRIBE, "general", posted.id, BODY + "edited")
    assert edited.body.endswith("edited")
    assert parsed["markdown"] == {"markup"}
