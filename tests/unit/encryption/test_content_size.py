"""Contents whose ciphertext fits into an event of Matrix."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daarion_appservice.encryption.outbound_sessions import encrypt_event, plan_outbound
from daarion_appservice.json_encoding import encode_json
from daarion_appservice.matrix.encryption.content_size import fitting_content
from tests.parts.encryption_peer import KEY, ROOM, KeyServer, Peer

ENVELOPE_BYTES = 3_000
"""Bytes that the homeserver adds to an event: ids, hashes, signatures, and references to other events."""
CHARACTERS = ["a", "я", "😀", "\x01", '"', "\\", "\n", "\u2028"]
SIZES = st.sampled_from([0, 1, 100, 5_000, 20_000, 46_000, 65_000])
TEXTS = st.builds(lambda character, size: character * size, st.sampled_from(CHARACTERS), SIZES)
PEER = Peer(KeyServer(), "@agent_scribe:city.localhost")


def event_bytes(content: dict[str, Any]) -> int:
    """Return the size of the encrypted event of a content."""
    plan = plan_outbound(
        None,
        account=PEER.account,
        room=ROOM,
        policy=PEER.policy,
        devices=[],
        shared=[],
        started_at_ms=0,
        now_ms=0,
        key=KEY,
    )
    encrypted = encrypt_event(plan.session, account=PEER.account, event_type="m.room.message", content=content, key=KEY)
    return len(encode_json(encrypted.content)) + ENVELOPE_BYTES


@given(TEXTS, TEXTS)
def test_a_message_fits(body: str, html: str) -> None:
    content = {"msgtype": "m.text", "body": body, "format": "org.matrix.custom.html", "formatted_body": html}

    assert event_bytes(fitting_content(content)) <= 65_536


@given(TEXTS, TEXTS, TEXTS)
def test_an_edit_fits(body: str, new_body: str, html: str) -> None:
    content = {
        "msgtype": "m.text",
        "body": body,
        "m.new_content": {"msgtype": "m.text", "body": new_body, "formatted_body": html},
        "m.relates_to": {"rel_type": "m.replace", "event_id": "$" + "a" * 43},
    }

    assert event_bytes(fitting_content(content)) <= 65_536


@given(TEXTS)
def test_the_begin_of_a_long_message_stays(body: str) -> None:
    fitting = fitting_content({"msgtype": "m.text", "body": body})

    assert body.startswith(fitting["body"].removesuffix("…"))
    assert len(fitting["body"]) >= min(len(body), 7_000)


@pytest.mark.parametrize("size", [0, 10, 40_000])
def test_a_message_that_fits_stays(size: int) -> None:
    content = {"msgtype": "m.text", "body": "a" * size, "formatted_body": "<b>b</b>"}
    before = copy.deepcopy(content)

    assert fitting_content(content) == before
    assert content == before


def test_a_shortened_message_leaves_its_original() -> None:
    content = {"msgtype": "m.text", "body": "a" * 60_000, "m.new_content": {"body": "b" * 60_000}}
    before = copy.deepcopy(content)

    assert fitting_content(content) != before
    assert content == before
