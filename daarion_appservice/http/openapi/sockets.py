"""The WebSockets, which OpenAPI has no words for: what is said on them, for ``x-websockets`` and ``/docs``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

_MEMBER: Final = {
    "kind": "matrix",
    "id": "@olena:daarion.space",
    "display_name": "Олена",
    "matrix_user_id": "@olena:daarion.space",
    "avatar_url": None,
}
_MESSAGE: Final = {"id": "01M80JJAXFTK9TPCTY26E2R4Y5", "seq": 1024, "body": "Добрий вечір, Подоле!"}
_ROOM: Final = {
    "id": "city_podil",
    "slug": "podil",
    "name": "Поділ вечірній",
    "archived": False,
    "matrix_status": "linked",
}

_CHANGED: Final = {"message": _MESSAGE, "by": _MEMBER, "created_at": "2026-11-22T18:06:41.770Z"}


@dataclass(frozen=True, slots=True)
class Event:
    when: str
    example: dict[str, Any]

    @property
    def name(self) -> str:
        name: str = self.example["event"]
        return name


@dataclass(frozen=True, slots=True)
class Socket:
    path: str
    summary: str
    description: str
    query: dict[str, str]
    from_server: tuple[Event, ...]
    from_client: tuple[Event, ...]


_ALL_QUERY: Final = {
    "token": "Who connects, where no header can be set.",
    "since": "The `seq` of the last thing that was heard: what was missed comes first, or a resync if that is too much.",
}
_AUTH: Final = Event(
    "Who speaks, if neither header nor `?token=` said so; and anew before a token ends.",
    {"event": "auth", "token": "…"},
)
_ERROR: Final = Event(
    "What is wrong with an event; the socket stays open, except when the token counts no longer.",
    {"event": "error", "code": "message_empty", "detail": "a message needs a text", "client_id": "tab1-42"},
)

EVENT_CODES: Final = {"no_such_event", "no_upgrade", "origin_not_allowed", "token_expired"}
"""Codes that are said on WebSockets only, or before one opens."""

SOCKETS: Final = (
    Socket(
        "/ws/city/rooms/{room_id}",
        "What happens in a room, and saying something there",
        "404 `no_such_room` before it opens. What has a `seq` is part of the room's history, where `seq` goes up by one. "
        "A `message` is what `GET /city/rooms/{room_id}/messages` shows, here shortened.",
        _ALL_QUERY,
        (
            Event(
                "Something was said; also by oneself.",
                {"event": "city.room.message", "room_id": "city_podil", "seq": 1024, "message": _MESSAGE},
            ),
            Event(
                "A message was changed, or its `delivery` did. With `since` it is told as it stands now.",
                {"event": "city.room.message.updated", "room_id": "city_podil", "seq": 1025} | _CHANGED,
            ),
            Event(
                "A message was taken back: its text is gone.",
                {"event": "city.room.message.deleted", "room_id": "city_podil", "seq": 1026} | _CHANGED,
            ),
            Event(
                "A sign was given to a message, or taken back; `reactions` of the message are counted anew.",
                {"event": "city.room.reaction", "room_id": "city_podil", "seq": 1027, "emoji": "🌻", "added": True}
                | _CHANGED,
            ),
            Event(
                "Somebody came.",
                {
                    "event": "city.room.join",
                    "room_id": "city_podil",
                    "seq": 1028,
                    "member": _MEMBER,
                    "created_at": "2026-11-22T18:05:07.402Z",
                    "members_online": 43,
                },
            ),
            Event(
                "Somebody left, or was put out: `cause` is `left`, `kicked` or `banned`, `by` the moderator (null: the city).",
                {
                    "event": "city.room.leave",
                    "room_id": "city_podil",
                    "seq": 1029,
                    "member": _MEMBER,
                    "created_at": "2026-11-22T18:09:44.090Z",
                    "members_online": 42,
                    "cause": "left",
                    "by": None,
                    "reason": None,
                },
            ),
            Event(
                "A member has another name or picture now; messages keep the name that they were said under.",
                {"event": "city.room.member", "room_id": "city_podil", "member": _MEMBER},
            ),
            Event(
                "The room is called, described or doing differently now.",
                {"event": "city.room.updated", "room_id": "city_podil", "room": _ROOM},
            ),
            Event(
                "A member is here, is away, or is gone.",
                {
                    "event": "city.room.presence",
                    "room_id": "city_podil",
                    "user_id": "agent:daarwizz",
                    "status": "away",
                    "status_msg": None,
                    "last_active_ago_ms": 61200,
                    "members_online": 42,
                },
            ),
            Event(
                "Everybody who is typing now.",
                {"event": "city.room.typing", "room_id": "city_podil", "typing": ["u_123", "@olena:daarion.space"]},
            ),
            Event(
                "More was missed than is told: read the room anew, and go on from this `seq`.",
                {"event": "city.room.resync", "room_id": "city_podil", "seq": 2044},
            ),
            _ERROR,
        ),
        (
            _AUTH,
            Event(
                "Say something; as with `POST /city/rooms/{room_id}/messages`.",
                {"event": "city.room.send", "body": "Добрий вечір, Подоле!", "client_id": "tab1-42", "reply_to": None},
            ),
            Event(
                "One is typing; as with `PUT /city/rooms/{room_id}/typing`.",
                {"event": "city.room.typing", "typing": True},
            ),
            Event(
                "How far one has read; as with `PUT /city/rooms/{room_id}/read`.",
                {"event": "city.room.read", "message_id": "01M80JJAXFTK9TPCTY26E2R4Y5"},
            ),
        ),
    ),
    Socket(
        "/ws/city/presence",
        "Heartbeats in, changes of presence out",
        "The client says every 20 seconds that it is here, and on page close that it goes; `user_id` must be its own.",
        _ALL_QUERY
        | {
            "batch": "`1`: the changes of one tick (50 ms) come as one `presence.updates`.",
            "rooms": "`1`: changes of rooms come, too, at most once a second; they have no `seq` and are not replayed.",
        },
        (
            Event(
                "Everybody who is here, first of all.",
                {
                    "event": "presence.snapshot",
                    "users": [{"user_id": "u_123", "status": "online", "status_msg": None, "last_active_ago_ms": 812}],
                    "seq": 1795317512345680,
                },
            ),
            Event(
                "Somebody is shown differently.",
                {
                    "event": "presence.update",
                    "user_id": "u_123",
                    "status": "away",
                    "status_msg": None,
                    "last_active_ago_ms": 61200,
                    "seq": 1795317512345681,
                },
            ),
            Event(
                "Several are; with `?batch=1`.",
                {
                    "event": "presence.updates",
                    "updates": [
                        {
                            "user_id": "u_123",
                            "status": "away",
                            "status_msg": None,
                            "last_active_ago_ms": 61200,
                            "seq": 1795317512345681,
                        }
                    ],
                    "seq": 1795317512345681,
                },
            ),
            Event("What was missed cannot be told any more: a snapshot follows.", {"event": "presence.resync"}),
            Event(
                "Rooms changed: their name, last event or number of members online; with `?rooms=1`. Each is as in "
                "`GET /city/rooms`, here shortened; rooms that are not for everybody are told to their members.",
                {
                    "event": "city.rooms.updated",
                    "rooms": [
                        _ROOM | {"members_online": 42, "last_event": "2026-11-22T18:05:05.103Z", "last_seq": 1024}
                    ],
                },
            ),
            Event(
                "Changes of rooms were missed: read `GET /city/rooms` again; with `?rooms=1`.",
                {"event": "city.rooms.resync"},
            ),
            _ERROR,
        ),
        (
            _AUTH,
            Event(
                "One is here; `status`, `status_msg` and `session_id` may be left out.",
                {"event": "presence.heartbeat", "user_id": "u_123", "session_id": "tab1", "status": "online"},
            ),
            Event("This session ends.", {"event": "presence.offline", "session_id": "tab1"}),
        ),
    ),
)


def described_sockets() -> list[dict[str, Any]]:
    """The sockets as they stand in ``/openapi.json``."""
    return [
        {
            "path": socket.path,
            "summary": socket.summary,
            "description": socket.description,
            "query": socket.query,
            "from_server": [_event(event) for event in socket.from_server],
            "from_client": [_event(event) for event in socket.from_client],
        }
        for socket in SOCKETS
    ]


def _event(event: Event) -> dict[str, Any]:
    return {"event": event.name, "description": event.when, "example": event.example}
