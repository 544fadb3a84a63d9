"""Compares the current state of a Matrix room with the city room."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from ...city.event_fields import Event, content_of, name_text, sender_of, topic_text
from ...city.identity import Identities
from ...city.restrictions import Restriction, RestrictionKind
from ...city.types import Member, Room, UserId
from ...storage.database import Transaction
from ..client.room_rules import is_encryption, join_rule, stored_json, visibility_in
from .current_state import CurrentState, is_absent
from .members import read_member


@dataclass(frozen=True, slots=True)
class Known:
    """The city's members and restrictions of a room, read before the state of the Matrix room."""

    members: Mapping[UserId, Member]
    restrictions: Mapping[UserId, Restriction]
    moving: frozenset[UserId]
    """Ghosts whose join or leave is not sent to Matrix yet."""


async def read_known(tx: Transaction, room: Room) -> Known:
    members = {member.user_id: member for member in await tx.members.of_room(room.id)}
    return Known(members, await tx.restrictions.of_room(room.id), frozenset(await tx.outbox.moving(room.id)))


def differences(identities: Identities, room: Room, known: Known, current: CurrentState) -> Iterator[Event]:
    """Yield the current events (`CurrentState.now`) of all keys whose state differs from the city room."""
    for event_type, is_known in _RULES.items():
        event = current.now((event_type, ""))
        if not is_known(room, event):
            yield event
    users = {UserId(key) for event_type, key in current.events if event_type == "m.room.member"}
    for user in sorted(users | known.members.keys() | known.restrictions.keys()):
        event = current.now(("m.room.member", user))
        if identities.subject(user) is None or user in known.moving:
            continue
        if _member(room, user, event) != known.members.get(user) or (
            identities.is_ours(user) and not _is_standing_known(known.restrictions.get(user), user, event)
        ):
            yield event


def _member(room: Room, user: UserId, event: Event) -> Member | None:
    content = content_of(event)
    return read_member(room.id, user, content) if content.get("membership") == "join" else None


def _is_standing_known(stands: Restriction | None, user: UserId, event: Event) -> bool:
    standing = stands and stands.kind
    match content_of(event).get("membership"):
        case "ban":
            return standing is RestrictionKind.BANNED
        case "invite":
            return standing is RestrictionKind.INVITED
        case "leave" if sender_of(event) != user:
            # No restriction if a ban or an invitation was withdrawn; the handler of the event decides which.
            return standing is RestrictionKind.KICKED
    return standing is None


def _knows_name(room: Room, event: Event) -> bool:
    return name_text(content_of(event), "name") in {None, "", room.name}


def _knows_topic(room: Room, event: Event) -> bool:
    return topic_text(content_of(event), "topic") in {None, room.description}


def _knows_power_levels(room: Room, event: Event) -> bool:
    return is_absent(event) or stored_json(content_of(event)) == room.power_levels


def _knows_join_rule(room: Room, event: Event) -> bool:
    return join_rule(content_of(event)) == room.join_rule


def _knows_visibility(room: Room, event: Event) -> bool:
    return visibility_in(content_of(event)) is room.history_visibility


def _knows_encryption(room: Room, event: Event) -> bool:
    return is_encryption(content_of(event)) == room.encrypted


def _knows_tombstone(_room: Room, _event: Event) -> bool:
    # The database does not store it; the handler of the event decides.
    return False


_RULES: Final[Mapping[str, Callable[[Room, Event], bool]]] = {
    "m.room.name": _knows_name,
    "m.room.topic": _knows_topic,
    "m.room.power_levels": _knows_power_levels,
    "m.room.join_rules": _knows_join_rule,
    "m.room.history_visibility": _knows_visibility,
    "m.room.encryption": _knows_encryption,
    "m.room.tombstone": _knows_tombstone,
}
