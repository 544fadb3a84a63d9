"""Describes the WebSockets and their events, which OpenAPI cannot describe, for ``x-websockets`` and ``/docs``."""

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
_PROFILE: Final = {"display_name": "Оксана", "avatar_url": "/city/media/daarion.space/oksana"}
_ROOM: Final = {
    "id": "city_podil",
    "slug": "podil",
    "name": "Поділ вечірній",
    "archived": False,
    "matrix_status": "linked",
}

_LAST_MESSAGE: Final = {
    "id": "01M80JJAXFTK9TPCTY26E2R4Y5",
    "seq": 1024,
    "author": _MEMBER,
    "text": "Добрий вечір, Подоле!",
    "msgtype": "m.text",
    "created_at": "2026-11-22T18:05:05.103Z",
}
_UNREAD: Final = {
    "room_id": "city_podil",
    "joined": True,
    "unread": 3,
    "mentions": 1,
    "read_seq": 1021,
    "notifications": "all",
}

_CHANGED: Final = {"message": _MESSAGE, "by": _MEMBER, "created_at": "2026-11-22T18:06:41.770Z"}


@dataclass(frozen=True, slots=True)
class Event:
    description: str
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


_COMMON_QUERY: Final = {
    "token": "A bearer token, for clients that cannot set headers.",
    "since": "The `seq` of the last event that the client received: the events after it are replayed first.",
}
_AUTH: Final = Event(
    "Authenticates the connection, if neither the header nor `?token=` did; also with a new token before the old one expires.",
    {"event": "auth", "token": "…"},
)
_CONNECTION: Final = (
    "A connection without a token is closed with 1008 after any error in its first frame, and after 25 seconds without `auth`, "
    "where reading needs a token (`sign_in`). It is closed with 1008 after `token_expired` or `token_invalid`, when the token is "
    "no longer valid; with 1013 when the token cannot be checked at the moment, and when the client reads too slowly (resume "
    "with `?since=`). The server sends a ping every 25 seconds. A page of another origin that is not in `api.allowed_origins` is "
    "refused with 403 `origin_not_allowed`, a request without `Upgrade: websocket` with 426 `no_upgrade`. "
    "[Rate limits](#rate-limits) apply."
)
_ROOM_DESCRIPTION: Final = f"""\
Events with a `seq` are the room's history, in which `seq` increases by one. `?since=` replays the events after that number; if
these are more than 1,000 events or 512 KiB, or the client may not read all of them, `city.room.resync` is sent instead, possibly
after some of them. It is also sent when the homeserver delivered a message late, so that it and the messages after it have new
numbers. Without `since` all events after the response to the request are sent, or all after `auth` where reading needs a token;
`last_seq` of the room, read before the request, is the `since` that misses none.

`message` is as in `GET /city/rooms/{{room_id}}/messages`, here shortened. A replay contains each message once, in its current
state, in the first event about it; later events have its `message_id`, and `message` is `null`.

The request is 404 `no_such_room`, or 403 `members_only` where the client may not read new messages. An anonymous client may open
the connection to any room that it may know of; its first event must be `auth` then. When the room becomes private, or the client
leaves a private room, the error `members_only` and the close code 1008 follow.

{_CONNECTION}
"""
_PRESENCE_DESCRIPTION: Final = f"""\
The client sends a heartbeat every 20 seconds (`presence.heartbeat_s`), and `presence.offline` when its page is closed. `user_id`
must be `sub` of the token; agents use their own token. `?since=` replays the changes after that number, the last one of each
subject. A citizen with a linked Matrix account has one presence with it, under the Matrix user id.

{_CONNECTION}
"""
_ERROR: Final = Event(
    "An event of the client failed. `client_id` is that of the event. The connection stays open, except after `token_expired`, "
    "`token_invalid` and `members_only`.",
    {"event": "error", "code": "message_empty", "detail": "the message is empty; send a text", "client_id": "tab1-42"},
)

SOCKETS: Final = (
    Socket(
        "/ws/city/rooms/{room_id}",
        "Receive and send events of a room",
        _ROOM_DESCRIPTION,
        _COMMON_QUERY
        | {"batch": "`1`: the presence changes of one tick (50 ms) are sent as one `city.room.presences`."},
        (
            Event(
                "A message was posted, by the client itself as well.",
                {"event": "city.room.message", "room_id": "city_podil", "seq": 1024, "message": _MESSAGE},
            ),
            Event(
                "A message was edited, or its `delivery` changed.",
                {"event": "city.room.message.updated", "room_id": "city_podil", "seq": 1025} | _CHANGED,
            ),
            Event(
                "A message was deleted.",
                {"event": "city.room.message.deleted", "room_id": "city_podil", "seq": 1026} | _CHANGED,
            ),
            Event(
                "A reaction was added (`added`: true) or removed; `message.reactions` has the new counts.",
                {"event": "city.room.reaction", "room_id": "city_podil", "seq": 1027, "emoji": "🌻", "added": True}
                | _CHANGED,
            ),
            Event(
                "A member joined.",
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
                "A member left. `cause` is `left`, `kicked` or `banned`; of the latter two `by` is the moderator (`null`: the "
                "city) and `reason` the moderator's reason.",
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
                "The display name or avatar of a member changed. Earlier messages keep the earlier name.",
                {"event": "city.room.member", "room_id": "city_podil", "member": _MEMBER},
            ),
            Event(
                "The name, description or state of the room changed. `room` is as in `GET /city/rooms`, here shortened.",
                {"event": "city.room.updated", "room_id": "city_podil", "room": _ROOM},
            ),
            Event(
                "The presence of a member changed.",
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
                "The presence of several members changed; with `?batch=1`. One member may still be sent as `city.room.presence`.",
                {
                    "event": "city.room.presences",
                    "room_id": "city_podil",
                    "members_online": 42,
                    "updates": [
                        {
                            "user_id": "agent:daarwizz",
                            "status": "away",
                            "status_msg": None,
                            "last_active_ago_ms": 61200,
                        }
                    ],
                },
            ),
            Event(
                "The set of typing subjects changed; `typing` lists all of them.",
                {"event": "city.room.typing", "room_id": "city_podil", "typing": ["u_123", "@olena:daarion.space"]},
            ),
            Event(
                "A member has read the room up to a message; `thread_root` is `null` in the main timeline. Clients that may not "
                "read the message do not get it. `GET /city/rooms/{room_id}/receipts` returns the receipts before it.",
                {
                    "event": "city.room.read",
                    "room_id": "city_podil",
                    "user_id": "@olena:daarion.space",
                    "reader": _MEMBER,
                    "message_id": "01M80JJAXFTK9TPCTY26E2R4Y5",
                    "thread_root": None,
                    "read_at": "2026-11-22T18:07:12.310Z",
                },
            ),
            Event(
                "The events after `since` cannot be replayed, or an event was inserted before others: load the room again, and "
                "continue from this `seq`.",
                {"event": "city.room.resync", "room_id": "city_podil", "seq": 2044},
            ),
            _ERROR,
        ),
        (
            _AUTH,
            Event(
                "Posts a message, as `POST /city/rooms/{room_id}/messages`.",
                {
                    "event": "city.room.send",
                    "body": "Добрий вечір, Подоле!",
                    "client_id": "tab1-42",
                    "reply_to": None,
                    "thread_root": None,
                },
            ),
            Event(
                "Sets the typing notification, as `PUT /city/rooms/{room_id}/typing`.",
                {"event": "city.room.typing", "typing": True},
            ),
            Event(
                "Sends a read receipt, as `PUT /city/rooms/{room_id}/read`.",
                {"event": "city.room.read", "message_id": "01M80JJAXFTK9TPCTY26E2R4Y5"},
            ),
        ),
    ),
    Socket(
        "/ws/city/presence",
        "Send heartbeats and receive presence",
        _PRESENCE_DESCRIPTION,
        _COMMON_QUERY
        | {
            "batch": "`1`: the changes of one tick (50 ms) are sent as one `presence.updates`.",
            "rooms": "`1`: changes of rooms are sent as well, at most once a second. They have no `seq` and are not replayed: "
            "load `GET /city/rooms` after each connection.",
            "unread": "`1`: what a citizen has not read is sent as well, at most once a second.",
        },
        (
            Event(
                "The first event: all subjects who are not offline.",
                {
                    "event": "presence.snapshot",
                    "users": [
                        {
                            "user_id": "u_123",
                            "status": "online",
                            "status_msg": None,
                            "last_active_ago_ms": 812,
                            **_PROFILE,
                        }
                    ],
                    "seq": 1795317512345680,
                },
            ),
            Event(
                "The presence of a subject changed.",
                {
                    "event": "presence.update",
                    "user_id": "u_123",
                    "status": "away",
                    "status_msg": None,
                    "last_active_ago_ms": 61200,
                    **_PROFILE,
                    "seq": 1795317512345681,
                },
            ),
            Event(
                "The presence of several subjects changed; with `?batch=1`.",
                {
                    "event": "presence.updates",
                    "updates": [
                        {
                            "user_id": "u_123",
                            "status": "away",
                            "status_msg": None,
                            "last_active_ago_ms": 61200,
                            **_PROFILE,
                            "seq": 1795317512345681,
                        }
                    ],
                    "seq": 1795317512345681,
                },
            ),
            Event(
                "The changes after `since` cannot be replayed; a `presence.snapshot` follows.",
                {"event": "presence.resync"},
            ),
            Event(
                "The name, description, state, last event or number of online members of rooms changed; with `?rooms=1`. Each "
                "room is as in `GET /city/rooms`, here shortened. Changes of a room that is not public are sent to its members "
                "only. A room with `archived`: true is no longer listed.",
                {
                    "event": "city.rooms.updated",
                    "rooms": [
                        _ROOM | {"members_online": 42, "last_event": "2026-11-22T18:05:05.103Z", "last_seq": 1024}
                    ],
                },
            ),
            Event(
                "Changes of rooms were missed: load `GET /city/rooms` again; with `?rooms=1`.",
                {"event": "city.rooms.resync"},
            ),
            Event(
                "What the citizen has not read, of all rooms that the citizen joined, opened or is mentioned in: after "
                "connecting, and again if changes were missed; with `?unread=1`. The fields are those of `GET /city/rooms`. "
                "Other rooms have no unread messages and no mentions.",
                {"event": "city.unread.snapshot", "rooms": [_UNREAD]},
            ),
            Event(
                "What the citizen has not read has changed, by messages or on another device; with `?unread=1`. `last_message` "
                "is the newest message, as in `GET /city/rooms`; it is missing if it did not change.",
                {"event": "city.unread", "rooms": [_UNREAD | {"last_message": _LAST_MESSAGE}]},
            ),
            _ERROR,
        ),
        (
            _AUTH,
            Event(
                "A heartbeat; `status`, `status_msg` and `session_id` are optional. A client whose user gave no input for five "
                "minutes sends `status`: `away` with each heartbeat.",
                {"event": "presence.heartbeat", "user_id": "u_123", "session_id": "tab1", "status": "online"},
            ),
            Event("Ends the session, when a page is closed.", {"event": "presence.offline", "session_id": "tab1"}),
        ),
    ),
)


def described_sockets() -> list[dict[str, Any]]:
    """Return the descriptions of all WebSockets for ``x-websockets``."""
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
    return {"event": event.name, "description": event.description, "example": event.example}
