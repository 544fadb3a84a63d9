"""Rules of the delivery of an outbox entry: what must not be sent, and which refusals mean that the goal is reached."""

from __future__ import annotations

from dataclasses import replace

import pytest

from daarion_appservice.city.delivery_errors import DeliveryError
from daarion_appservice.city.second_me import SECOND_ME
from daarion_appservice.city.types import AgentSlug, Author, AuthorKind, EventId, OutboxKind, Room, RoomId
from daarion_appservice.errors import HomeserverRefused
from daarion_appservice.matrix.outbound.delivery import _forbidden_reason, _is_already_done
from daarion_appservice.matrix.outbound.rendering import OutgoingEvent

SCRIBE = AgentSlug("scribe")
MESSAGE = OutgoingEvent(None, 0, "m.room.message", {"msgtype": "m.text"})
SECOND_ME_MESSAGE, SECOND_ME_NOTICE = (
    OutgoingEvent(Author(AuthorKind.AGENT, SECOND_ME.slug, "Second Me"), 0, "m.room.message", {"msgtype": kind})
    for kind in ("m.text", "m.notice")
)
CITIZEN_MESSAGE = replace(MESSAGE, sender=Author(AuthorKind.CITIZEN, "u_1", "Оксана"))
REACTION = OutgoingEvent(None, 0, "m.reaction")
REDACTION = OutgoingEvent(None, 0, redacts=EventId("$event"))
JOIN, LEAVE = (OutgoingEvent(None, 0, membership=kind) for kind in (OutboxKind.JOIN, OutboxKind.LEAVE))


def room(agent: AgentSlug | None, *, is_group: bool = False, archived: bool = False) -> Room:
    return Room(RoomId("r"), "r", "Room", "", False, archived, 0, agent=agent, is_group=is_group)


@pytest.mark.parametrize(
    ("event", "of_room", "reason"),
    [
        (None, room(SCRIBE, archived=True), None),
        (MESSAGE, None, None),
        (MESSAGE, room(None, archived=True), None),
        (MESSAGE, room(SCRIBE, is_group=True), None),
        (MESSAGE, room(SCRIBE, archived=True), DeliveryError.CHAT_OVER),
        (SECOND_ME_MESSAGE, room(SECOND_ME.slug), None),
        (SECOND_ME_MESSAGE, room(SECOND_ME.slug, is_group=True), DeliveryError.NOT_PRIVATE),
        (SECOND_ME_MESSAGE, room(SCRIBE, is_group=True), DeliveryError.NOT_PRIVATE),
        (MESSAGE, room(SECOND_ME.slug, is_group=True), None),
        (SECOND_ME_NOTICE, room(SECOND_ME.slug, is_group=True), None),
        (REACTION, room(SECOND_ME.slug, is_group=True), None),
        (MESSAGE, room(SECOND_ME.slug, is_group=True, archived=True), DeliveryError.CHAT_OVER),
        (LEAVE, room(SCRIBE, archived=True), None),
        (CITIZEN_MESSAGE, room(SCRIBE), None),
        (CITIZEN_MESSAGE, replace(room(SCRIBE), encrypted=True), DeliveryError.REFUSED),
    ],
)
def test_forbidden_reason_depends_on_chat(
    event: OutgoingEvent | None, of_room: Room | None, reason: DeliveryError | None
) -> None:
    assert _forbidden_reason(event, of_room) is reason


@pytest.mark.parametrize(
    ("event", "status", "errcode", "is_done"),
    [
        (REACTION, 400, "M_DUPLICATE_ANNOTATION", True),
        (REACTION, 400, "M_UNKNOWN", False),
        (REDACTION, 404, "M_NOT_FOUND", True),
        (REDACTION, 403, "M_FORBIDDEN", False),
        (MESSAGE, 404, "M_NOT_FOUND", False),
        (LEAVE, 403, "M_FORBIDDEN", True),
        (JOIN, 403, "M_FORBIDDEN", False),
    ],
)
def test_refusal_may_mean_goal_is_reached(event: OutgoingEvent, status: int, errcode: str, is_done: bool) -> None:
    assert _is_already_done(event, HomeserverRefused(status, errcode, "")) is is_done


@pytest.mark.parametrize(
    ("event", "is_allowed"),
    [
        (MESSAGE, False),
        (replace(MESSAGE, content={"msgtype": "m.notice"}), False),
        (replace(MESSAGE, content={"msgtype": "m.notice"}, is_unreadable_notice=True), True),
        (replace(MESSAGE, event_type="m.poll.start"), False),
        (REACTION, True),
        (REDACTION, True),
        (LEAVE, True),
    ],
)
def test_only_one_notice_may_be_in_clear(event: OutgoingEvent, is_allowed: bool) -> None:
    chat = replace(room(SCRIBE), encrypted=True)
    assert (_forbidden_reason(event, chat, can_encrypt=False) is None) is is_allowed
    assert _forbidden_reason(event, chat, can_encrypt=True) is None
