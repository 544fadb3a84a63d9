"""The response models of rooms and their members."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from ...city.moderation_rights import Writers
from ...city.types import AuthorKind, HistoryVisibility, MatrixStatus
from ...city.unread import NotificationMode
from .authors import Author
from .messages import Message
from .types import Count, PresenceFields, Timestamp


class OnlineMember(PresenceFields):
    """A member of a room who is not offline."""

    kind: Annotated[AuthorKind, Field(description="The kind, as of an `Author`.", examples=["agent"])]
    id: Annotated[str, Field(description="The id, as of an `Author`.", examples=["litopys"])]
    display_name: Annotated[str, Field(description="The display name.", examples=["Літопис"])]
    matrix_user_id: Annotated[str, Field(description="The Matrix user id.", examples=["@agent_litopys:daarion.space"])]
    avatar_url: Annotated[str | None, Field(description="The path of the avatar on this server.", examples=[None])]


class LastMessage(TypedDict):
    """The newest message of a room, as lists of rooms show it."""

    id: Annotated[str, Field(description="The message id.", examples=["01M80JJAXFTK9TPCTY26E2R4Y5"])]
    seq: Annotated[int, Field(description="The `seq` of the message.", examples=[1024])]
    author: Annotated[Author, Field(description="The author.")]
    text: Annotated[
        str,
        Field(
            description="The text without markup, at most 140 characters; of a file its name or caption.",
            examples=["Добрий вечір, Подоле!"],
        ),
    ]
    msgtype: Annotated[str, Field(description="The Matrix message type.", examples=["m.text"])]
    created_at: Annotated[Timestamp, Field(description="The time of sending.")]


class RoomUnread(TypedDict):
    """What a citizen has not read in a room."""

    joined: Annotated[bool, Field(description="Whether the citizen is a member.", examples=[True])]
    unread: Annotated[
        int,
        Field(
            description="Messages of others in the main timeline after the read mark; 100 means 100 or more. 0 in a room that "
            "the citizen neither joined nor opened.",
            ge=0,
            le=100,
            examples=[3],
        ),
    ]
    mentions: Annotated[
        int,
        Field(
            description="Unread messages, also in threads, that mention the citizen, mention `@room`, or reply to the "
            "citizen, and all unread messages of a direct chat; 100 means 100 or more.",
            ge=0,
            le=100,
            examples=[1],
        ),
    ]
    read_seq: Annotated[
        int | None,
        Field(
            description="The read mark: messages up to this `seq` are read; `null` in a room that the citizen neither joined "
            "nor opened.",
            examples=[1021],
        ),
    ]
    notifications: Annotated[
        NotificationMode,
        Field(
            description="Which messages notify the citizen: `all`, `mentions` or `none`. The counts do not depend on it.",
            examples=["all"],
        ),
    ]


class NotificationSetting(TypedDict):
    """Which messages of a room notify the citizen."""

    room_id: Annotated[str, Field(description="The room id.", examples=["city_podil"])]
    mode: Annotated[NotificationMode, Field(description="`all`, `mentions` or `none`.", examples=["mentions"])]


class Room(TypedDict):
    """A room of the city, which is linked with one Matrix room."""

    id: Annotated[str, Field(description="The room id, which never changes.", examples=["city_podil"])]
    slug: Annotated[str, Field(description="The room's name in paths.", examples=["podil"])]
    name: Annotated[str, Field(description="The name.", examples=["Поділ"])]
    description: Annotated[
        str, Field(description="The description; on Matrix the topic.", examples=["Новини й зустрічі на Подолі"])
    ]
    avatar_url: Annotated[
        str | None,
        Field(
            description="The path of the picture on this server; `null` for a room without one, which has a drawn house on "
            "Matrix.",
            examples=["/city/media/daarion.space/SEsfnsuifSDFSSEF"],
        ),
    ]
    members_online: Annotated[
        Count,
        Field(
            description="The number of members (citizens, agents and Matrix users) who are not offline.", examples=[42]
        ),
    ]
    last_event: Annotated[Timestamp | None, Field(description="The time of the last event in the room.")]
    last_seq: Annotated[
        int,
        Field(
            description="The `seq` of the last event, from which a WebSocket can resume (`?since=`).", examples=[1024]
        ),
    ]
    matrix_room_id: Annotated[
        str | None,
        Field(
            description="The Matrix room id; `null` until the Matrix room exists.",
            examples=["!GY9XVBAGW1G4IT5Bh8yzxUy-ZFtRLMjtaL6f8nH2ixU"],
        ),
    ]
    matrix_room_alias: Annotated[
        str, Field(description="The alias of the Matrix room.", examples=["#city_podil:daarion.space"])
    ]
    matrix_status: Annotated[
        MatrixStatus,
        Field(
            description="`pending` until the Matrix room exists, then `linked`; `failed` if the homeserver refused it or the "
            "link between the two rooms is broken. Messages to a room that is not `linked` wait as `pending`, in order.",
            examples=["linked"],
        ),
    ]
    matrix_error: Annotated[
        str | None,
        Field(
            description="Why the link is `failed`, and what an admin of the Matrix room must do.",
            examples=["the bot was removed from the room"],
        ),
    ]
    encrypted: Annotated[
        bool,
        Field(
            description="Whether the Matrix room is encrypted. This cannot be undone: messages from Matrix cannot be read, and "
            "no message can be posted.",
            examples=[False],
        ),
    ]
    history_visibility: Annotated[
        HistoryVisibility,
        Field(
            description="`m.room.history_visibility` of the Matrix room, for new messages: `world_readable`, `shared`, "
            "`invited` or `joined`.",
            examples=["world_readable"],
        ),
    ]
    is_public: Annotated[bool, Field(description="Whether `history_visibility` is `world_readable`.", examples=[True])]
    is_default: Annotated[
        bool, Field(description="Whether the room was created from the configuration.", examples=[False])
    ]
    archived: Annotated[
        bool, Field(description="Whether the room is archived: read-only and not listed.", examples=[False])
    ]
    created_at: Annotated[Timestamp, Field(description="The time of creation.")]
    pins: Annotated[
        int,
        Field(
            description="The number of events that are pinned on Matrix. `GET /city/rooms/{room_id}/pins` returns those that "
            "are messages of the city.",
            ge=0,
            examples=[1],
        ),
    ]
    last_message: NotRequired[
        Annotated[
            LastMessage | None,
            Field(
                description="The newest message of the main timeline that the client may read. Only in lists of "
                "rooms, and in WebSocket events of a public room."
            ),
        ]
    ]
    joined: NotRequired[Annotated[bool, Field(description="As of `RoomUnread`; for citizens only.", examples=[True])]]
    unread: NotRequired[
        Annotated[int, Field(description="As of `RoomUnread`; for citizens only.", ge=0, le=100, examples=[3])]
    ]
    mentions: NotRequired[
        Annotated[int, Field(description="As of `RoomUnread`; for citizens only.", ge=0, le=100, examples=[1])]
    ]
    read_seq: NotRequired[
        Annotated[int | None, Field(description="As of `RoomUnread`; for citizens only.", examples=[1021])]
    ]
    notifications: NotRequired[
        Annotated[NotificationMode, Field(description="As of `RoomUnread`; for citizens only.", examples=["all"])]
    ]


class RoomRemoval(TypedDict):
    """The kick or ban of the client from a room."""

    kind: Annotated[
        Literal["kicked", "banned"],
        Field(description="`kicked`: the client may join again; `banned`: it may not.", examples=["kicked"]),
    ]
    reason: Annotated[str | None, Field(description="The moderator's reason.", examples=["off topic"])]


class RoomRights(TypedDict):
    """What the client may do in a room as a moderator, by the power levels of the Matrix room or as an admin."""

    delete_messages: Annotated[bool, Field(description="Delete messages of others.", examples=[True])]
    kick: Annotated[bool, Field(description="Remove members with a lower power level.", examples=[True])]
    ban: Annotated[
        bool, Field(description="Ban people with a lower power level, list bans and lift them.", examples=[True])
    ]
    pin: Annotated[bool, Field(description="Pin and unpin messages.", examples=[True])]
    edit_room: Annotated[bool, Field(description="Change name and description.", examples=[True])]
    set_writers: Annotated[bool, Field(description="Change `writers`.", examples=[False])]
    set_avatar: Annotated[bool, Field(description="Change the picture.", examples=[True])]


class Ban(TypedDict):
    """A person who is banned from a room."""

    subject: Annotated[
        str,
        Field(
            description="The subject: a citizen id, `agent:<slug>` or a Matrix user id.",
            examples=["@olena:daarion.space"],
        ),
    ]
    person: Annotated[Author, Field(description="The person, by name as far as the city knows it.")]
    reason: Annotated[str | None, Field(description="The moderator's reason.", examples=["off topic"])]


class RoomDetails(Room):
    """A room with its latest messages and its online members."""

    may_read: Annotated[
        bool,
        Field(
            description="Whether the client may read new messages, and so open the room's WebSocket.", examples=[True]
        ),
    ]
    removal: Annotated[
        RoomRemoval | None,
        Field(description="The kick or ban that keeps the client from writing in the room; `null` without one."),
    ]
    writers: Annotated[
        Writers,
        Field(
            description="Who may send messages: `everyone`, or `moderators`, whose power level suffices.",
            examples=["everyone"],
        ),
    ]
    rights: Annotated[
        RoomRights | None,
        Field(description="The rights of the client; `null` for clients that are neither citizen nor agent."),
    ]
    messages: Annotated[
        list[Message],
        Field(
            description="The last 50 messages that the client may read, oldest first; fewer where they would exceed 256 KiB."
        ),
    ]
    has_older: Annotated[
        bool,
        Field(
            description="Whether there are older messages, which `GET /city/rooms/{room_id}/messages?before=` returns.",
            examples=[True],
        ),
    ]
    online_members: Annotated[
        list[OnlineMember],
        Field(description="The members who are not offline, at most 200; empty where `may_read` is false."),
    ]


class Membership(TypedDict):
    """The membership of the client in a room."""

    room_id: Annotated[str, Field(description="The room id.", examples=["city_podil"])]
    joined: Annotated[bool, Field(description="Whether the client is a member.", examples=[True])]
    members_online: Annotated[Count, Field(description="The number of members who are not offline.", examples=[43])]


class TypingResult(TypedDict):
    """The state of a typing notification."""

    typing: Annotated[bool, Field(description="The value of the request.", examples=[True])]
    expires_in_ms: Annotated[
        Count, Field(description="Milliseconds until the notification ends unless it is sent again.", examples=[10000])
    ]


class Receipt(TypedDict):
    """A read receipt: how far a member has read a room or a thread."""

    user_id: Annotated[
        str,
        Field(
            description="The subject of the reader: a citizen id, `agent:<slug>` or a Matrix user id.",
            examples=["@olena:daarion.space"],
        ),
    ]
    reader: Annotated[Author, Field(description="The reader, with name and avatar in the room.")]
    message_id: Annotated[
        str, Field(description="The id of the last message that was read.", examples=["01M80JJAXFTK9TPCTY26E2R4Y5"])
    ]
    thread_root: Annotated[
        str | None,
        Field(description="The message id of the thread's root; `null` in the main timeline.", examples=[None]),
    ]
    read_at: Annotated[Timestamp, Field(description="The time of reading.")]


class UnreadCount(TypedDict):
    """The number of unread messages in a room."""

    room_id: Annotated[str, Field(description="The room id.", examples=["city_podil"])]
    count: Annotated[
        int,
        Field(
            description="Messages of other authors after the given `seq`; 100 means 100 or more.",
            ge=0,
            le=100,
            examples=[3],
        ),
    ]
