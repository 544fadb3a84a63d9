"""Compares the current state of a Matrix room with the city room."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from ...city.avatars import avatar_key, room_avatar
from ...city.event_fields import Event, content_of, name_text, sender_of, topic_text
from ...city.identity import Identities
from ...city.restrictions import Restriction, RestrictionKind
from ...city.rooms import name_from_matrix
from ...city.types import Member, Room, UserId
from ...storage.database import Transaction
from ..client.room_rules import avatar_in, is_encryption, join_rule, pinned_json, stored_json, visibility_in
from .current_state import CurrentState, is_absent
from .members import read_member

_AVATAR: Final = "m.room.avatar"


@dataclass(frozen=True, slots=True)
class StoredState:
    """The city's members and restrictions of a room, read before the state of the Matrix room."""

    members: Mapping[UserId, Member]
    restrictions: Mapping[UserId, Restriction]
    pending_moves: frozenset[UserId]
    """Ghosts whose join or leave is not sent to Matrix yet."""
    drawn_avatars: frozenset[str] = frozenset()
    """The ``mxc://`` URIs of the avatar that the service draws for the room."""


async def read_stored_state(tx: Transaction, room: Room) -> StoredState:
    members = {member.user_id: member for member in await tx.members.of_room(room.id)}
    return StoredState(
        members,
        await tx.restrictions.of_room(room.id),
        frozenset(await tx.outbox.pending_moves(room.id)),
        frozenset(await tx.drawn_avatars.with_key(avatar_key(room_avatar(room.slug)))),
    )


def differences(identities: Identities, room: Room, stored: StoredState, current: CurrentState) -> Iterator[Event]:
    """Yield the current events (`CurrentState.get`) of all keys whose state differs from the city room."""
    for event_type, is_stored in _IS_STORED.items():
        event = current.get((event_type, ""))
        if not is_stored(room, event):
            yield event
    avatar = current.get((_AVATAR, ""))
    mxc = avatar_in(content_of(avatar))
    if (None if mxc in stored.drawn_avatars else mxc) != room.avatar_url:
        yield avatar
    users = {UserId(key) for event_type, key in current.events if event_type == "m.room.member"}
    for user in sorted(users | stored.members.keys() | stored.restrictions.keys()):
        event = current.get(("m.room.member", user))
        if identities.subject(user) is None or user in stored.pending_moves:
            continue
        is_agent = identities.agent_slug(user) is not None
        is_restriction_stored = _is_restriction_stored if identities.is_ours(user) else _is_ban_stored
        if not _is_same(
            _member(room, user, event), stored.members.get(user), is_agent=is_agent
        ) or not is_restriction_stored(stored.restrictions.get(user), user, event):
            yield event


def _member(room: Room, user: UserId, event: Event) -> Member | None:
    content = content_of(event)
    return read_member(room.id, user, content) if content.get("membership") == "join" else None


def _is_same(current: Member | None, stored: Member | None, *, is_agent: bool) -> bool:
    """Compare members; of agents not the profiles, because those in the city are the registry's (``MemberLog``)."""
    return (current is None) == (stored is None) if is_agent else current == stored


def _is_restriction_stored(restriction: Restriction | None, user: UserId, event: Event) -> bool:
    kind = restriction and restriction.kind
    match content_of(event).get("membership"):
        case "ban":
            return kind is RestrictionKind.BANNED
        case "invite":
            return kind is RestrictionKind.INVITED
        case "leave" if sender_of(event) != user:
            # No restriction if a ban or an invitation was withdrawn; the handler of the event decides which.
            return kind is RestrictionKind.KICKED
    return kind is None


def _is_ban_stored(restriction: Restriction | None, _user: UserId, event: Event) -> bool:
    """Compare the bans of Matrix users; the handlers of their events alone store kicks."""
    is_stored = restriction is not None and restriction.kind is RestrictionKind.BANNED
    return is_stored == (content_of(event).get("membership") == "ban")


def _is_name_stored(room: Room, event: Event) -> bool:
    return is_absent(event) or name_from_matrix(name_text(content_of(event), "name") or "", room.slug) == room.name


def _is_topic_stored(room: Room, event: Event) -> bool:
    return is_absent(event) or (topic_text(content_of(event), "topic") or "") == room.description


def _are_power_levels_stored(room: Room, event: Event) -> bool:
    return is_absent(event) or stored_json(content_of(event)) == room.power_levels


def _is_join_rule_stored(room: Room, event: Event) -> bool:
    return join_rule(content_of(event)) == room.join_rule


def _is_visibility_stored(room: Room, event: Event) -> bool:
    return visibility_in(content_of(event)) is room.history_visibility


def _are_pins_stored(room: Room, event: Event) -> bool:
    return pinned_json(content_of(event)) == (room.pinned_events or "[]")


def _is_encryption_stored(room: Room, event: Event) -> bool:
    return is_encryption(content_of(event)) == room.encrypted


def _is_tombstone_stored(_room: Room, _event: Event) -> bool:
    # The database does not store it; the handler of the event decides.
    return False


_IS_STORED: Final[Mapping[str, Callable[[Room, Event], bool]]] = {
    "m.room.name": _is_name_stored,
    "m.room.topic": _is_topic_stored,
    "m.room.power_levels": _are_power_levels_stored,
    "m.room.join_rules": _is_join_rule_stored,
    "m.room.history_visibility": _is_visibility_stored,
    "m.room.pinned_events": _are_pins_stored,
    "m.room.encryption": _is_encryption_stored,
    "m.room.tombstone": _is_tombstone_stored,
}
