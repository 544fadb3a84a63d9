"""The response models for ``/openapi.json``. ``views.py`` builds the responses, and tests compare them with the models.

Fields may be added, but not renamed or removed. Each field has a description with its unit, and an example.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from ..city.delivery_errors import DeliveryError
from ..city.feed_entries import FeedKind
from ..city.presence import Status
from ..city.types import AuthorKind, Delivery, HistoryVisibility, MatrixStatus

Moment = Annotated[
    str,
    Field(
        description="RFC 3339 in UTC, to the millisecond.",
        examples=["2026-11-22T18:05:05.103Z"],
        json_schema_extra={"format": "date-time"},
    ),
]
Count = Annotated[int, Field(ge=0)]


# --- people and agents ----------------------------------------------------------------------------------------------


class Author(BaseModel):
    """Somebody who can be in a room."""

    kind: AuthorKind = Field(
        description="A citizen, an agent, or a person on Matrix whom the city knows from there only.",
        examples=["citizen"],
    )
    id: str = Field(description="A citizen's id, an agent's slug or a Matrix user id.", examples=["u_123"])
    display_name: str = Field(description="What others see.", examples=["Оксана"])
    matrix_user_id: str = Field(description="Who they are on Matrix.", examples=["@citizen_u_123:daarion.space"])
    avatar_url: str | None = Field(
        description="Their picture, from the city's own address on.", examples=["/city/media/daarion.space/oksana"]
    )


class Me(BaseModel):
    """Who one is."""

    user_id: str = Field(description="The token's `sub`.", examples=["u_123"])
    display_name: str = Field(description="What others see.", examples=["Оксана"])
    matrix_user_id: str | None = Field(
        description="The account on Matrix that is linked with it.", examples=["@oksana:daarion.space"]
    )


class NamedCitizen(BaseModel):
    """A citizen's id and name."""

    id: str = Field(description="The id that was asked for.", examples=["u_123"])
    display_name: str | None = Field(description="The name in their last token.", examples=["Оксана"])


class Citizens(BaseModel):
    """Names of citizens."""

    citizens: list[NamedCitizen] = Field(description="One for each id, in the order asked.")


class Unread(BaseModel):
    """How much of a room one has not read."""

    room_id: str = Field(description="The room.", examples=["city_podil"])
    count: int = Field(
        description="Messages of others after that number; 100 means that many or more.", ge=0, le=100, examples=[3]
    )


class Presence(BaseModel):
    presence: Status = Field(description="The strongest state of their live sessions.", examples=["online"])
    last_active_ago_ms: Count | None = Field(
        description="Milliseconds since their last sign of life; `null` for somebody who was never seen.",
        examples=[6953],
    )
    status_msg: str | None = Field(description="Their status text.", examples=["пишу літопис Подолу"])


class Member(Presence):
    """A room's member who is here now."""

    kind: AuthorKind = Field(description="As of an author.", examples=["agent"])
    id: str = Field(description="As of an author.", examples=["litopys"])
    display_name: str = Field(description="What others see.", examples=["Літопис"])
    matrix_user_id: str = Field(description="Who they are on Matrix.", examples=["@agent_litopys:daarion.space"])
    avatar_url: str | None = Field(description="As of an author.", examples=[None])


class AgentPresence(Presence):
    """Whether an agent is here."""

    agent_id: str = Field(description="The agent's id.", examples=["daarwizz"])
    display_name: str = Field(description="The agent's name.", examples=["DAARWIZZ"])
    matrix_user_id: str = Field(description="The agent's ghost.", examples=["@agent_daarwizz:daarion.space"])


class Agent(AgentPresence):
    """One of the city's agents, with its presence."""

    id: str = Field(description="The agent's id.", examples=["daarwizz"])
    slug: str = Field(description="Its name in addresses.", examples=["daarwizz"])
    title: str | None = Field(description="What it is in the city.", examples=["Оркестратор microDAO"])
    kind: str | None = Field(description="What sort of agent it is.", examples=["assistant"])
    avatar: str | None = Field(
        description="Its picture, as an `mxc://` address.", examples=["mxc://daarion.space/daarwizz"]
    )
    avatar_url: str | None = Field(
        description="Where the city gives its picture out, from the city's own address on; also of one that was given as a file.",
        examples=["/city/media/daarion.space/daarwizz"],
    )
    color: str | None = Field(description="Its color.", examples=["#3b82f6"])
    node_id: str | None = Field(description="The node that it runs on.", examples=["node-kyiv-1"])
    node_role: str | None = Field(description="What it is there.", examples=["guardian"])
    microdao: str | None = Field(description="The microDAO that it belongs to.", examples=["daarion"])
    microdao_role: str | None = Field(description="What it is there.", examples=["orchestrator"])
    role: str | None = Field(description="One word for what it is.", examples=["orchestrator"])
    district: str | None = Field(
        description="Where it lives: its own district, else its node's, else its microDAO's.", examples=["podil"]
    )
    rooms: list[str] = Field(description="Slugs of the rooms that it lives in.", examples=[["general", "podil"]])


class HeartbeatResult(AgentPresence):
    """The agent's presence after a heartbeat."""

    next_heartbeat_ms: Count | None = Field(
        description="Milliseconds until the next one is due; `null` after `offline`.", examples=[20000]
    )
    expires_in_ms: Count = Field(description="Milliseconds that this session lives without one.", examples=[40000])


class HeartbeatError(BaseModel):
    """What is wrong with one heartbeat of many."""

    agent_id: Any = Field(description="As it was sent.", examples=["nobody"])
    code: str = Field(description="As of a problem.", examples=["no_such_agent"])
    detail: str = Field(description="A sentence for people.", examples=["there is no agent 'nobody'"])


class HeartbeatResults(BaseModel):
    results: list[HeartbeatResult | HeartbeatError] = Field(description="One a heartbeat, in the order asked.")


# --- rooms --------------------------------------------------------------------------------------------


class Room(BaseModel):
    """A room of the city, which is also one on Matrix."""

    id: str = Field(description="The room's id; it never changes.", examples=["city_podil"])
    slug: str = Field(description="Its name in addresses.", examples=["podil"])
    name: str = Field(description="Its name.", examples=["Поділ"])
    description: str = Field(
        description="What it is for; the topic on Matrix.", examples=["Новини й зустрічі на Подолі"]
    )
    members_online: Count = Field(description="How many of its members are not offline.", examples=[42])
    last_event: Moment | None = Field(description="When something last happened there.")
    last_seq: int = Field(description="The `seq` of that: where to resume from.", examples=[1024])
    matrix_room_id: str | None = Field(
        description="The room on Matrix, once there is one.", examples=["!GY9XVBAGW1G4IT5Bh8yzxUy-ZFtRLMjtaL6f8nH2ixU"]
    )
    matrix_room_alias: str = Field(description="Its address on Matrix.", examples=["#city_podil:daarion.space"])
    matrix_status: MatrixStatus = Field(
        description="`pending` until it has its Matrix room, then `linked`; `failed` when the homeserver refused it.",
        examples=["linked"],
    )
    matrix_error: str | None = Field(
        description="What is not right between the two, in words.", examples=["the bot was removed from the room"]
    )
    encrypted: bool = Field(
        description="Whether somebody turned on encryption on Matrix: nothing can be read or said there any more.",
        examples=[False],
    )
    history_visibility: HistoryVisibility = Field(
        description="Who may read what is said there now, as Matrix has it: `world_readable` everybody; else its members, and "
        "since when.",
        examples=["world_readable"],
    )
    is_public: bool = Field(description="Whether everybody may read what is said there now.", examples=[True])
    is_default: bool = Field(description="Whether it is one of those that the city began with.", examples=[False])
    archived: bool = Field(description="Whether it can only be read.", examples=[False])
    created_at: Moment = Field(description="When it was opened.")


class Media(BaseModel):
    """A picture, a sound, a film or another file."""

    mxc: str = Field(
        description="Its address on Matrix; to post a file, it is the message's `media`.",
        examples=["mxc://daarion.space/SEsfnsuifSDFSSEF"],
    )
    url: str | None = Field(
        description="Where the city gives it out, from the city's own address on.",
        examples=["/city/media/daarion.space/SEsfnsuifSDFSSEF"],
    )
    thumbnail_url: str | None = Field(
        description="The same for a smaller picture of it; `null` when there is none.",
        examples=["/city/media/daarion.space/SEsfnsuifSDFSSEF/thumbnail?width=800&height=600&method=scale"],
    )
    mimetype: str = Field(description="Its media type.", examples=["image/jpeg"])
    filename: str = Field(description="Its name.", examples=["фунікулер.jpg"])
    size: Count | None = Field(description="Bytes.", examples=[48211])
    width: Count | None = Field(description="Pixels.", examples=[1280])
    height: Count | None = Field(description="Pixels.", examples=[960])
    duration_ms: Count | None = Field(description="Milliseconds that it plays.", examples=[None])


class ReactionCount(BaseModel):
    """One sign under a message."""

    emoji: str = Field(description="The sign: an emoji, or whatever a Matrix client sent as one.", examples=["🌻"])
    count: Count = Field(description="How many gave it.", examples=[2])
    by: list[str] = Field(
        description="The first of them: citizens' ids, `agent:<slug>`, Matrix user ids.",
        examples=[["u_123", "@olena:daarion.space"]],
    )
    url: str | None = Field(
        description="Of a picture (`emoji` is its `mxc://` address): where the city gives it out.", examples=[None]
    )
    shortcode: str | None = Field(
        description="What a picture is called, where its sender said so: to be shown until it is there.",
        examples=[None],
    )


class Message(BaseModel):
    """Something said in a room, on either side."""

    id: str = Field(description="The message's id; ids sort by time.", examples=["01M80JJAXFTK9TPCTY26E2R4Y5"])
    room_id: str = Field(description="The room it was said in.", examples=["city_podil"])
    seq: int = Field(
        description="Its number in the room's history; history that was brought in later has numbers below what was there.",
        examples=[1024],
    )
    author: Author = Field(description="Who said it.")
    body: str = Field(description="The text.", examples=["Добрий вечір, Подоле!"])
    formatted_body: str | None = Field(description="The same as HTML.", examples=["Добрий вечір, <b>Подоле</b>!"])
    msgtype: str = Field(description="What it is, as Matrix calls it.", examples=["m.text"])
    media: Media | None = Field(description="The file that it is about.")
    mentions: list[str] = Field(
        description="Who is meant: citizens' ids, `agent:<slug>`, Matrix user ids.", examples=[["agent:daarwizz"]]
    )
    reply_to: str | None = Field(
        description="The id of the message that it answers.", examples=["01M80JJ9ZZ3VJ0Q4Y7V1B2N3M4"]
    )
    reactions: list[ReactionCount] = Field(description="The signs that others gave it.")
    edited_at: Moment | None = Field(description="When it was last changed.")
    deleted: bool = Field(description="Whether it was taken back; its text is gone then.", examples=[False])
    created_at: Moment = Field(description="When it was said.")
    matrix_event_id: str | None = Field(
        description="The event on Matrix, once there is one.", examples=["$hFVQmhB8-bYg-WTnIx-9kYFiOgwsgU2X7cVZ9DdUB-o"]
    )
    delivery: Delivery = Field(
        description="`pending` until it is on Matrix, then `sent`; `failed` when it is not there and will not be.",
        examples=["sent"],
    )
    delivery_error: DeliveryError | None = Field(
        description="Why its `delivery` is `failed`: its author may not write there (`not_allowed`, or more exactly "
        "`invite_only`, `kicked`, `banned`, `muted`), it was `deleted` before it was sent, it is `too_large`, the direct "
        "chat is over (`chat_over`) or others can read what was meant for one (`not_private`), somebody else has the "
        "author's user id (`account_taken`); `refused` for all else.",
        examples=[None],
    )
    client_id: str | None = Field(description="What its author's client calls it.", examples=["tab1-42"])


class RoomDetails(Room):
    """A room, what was last said in it, and who is there."""

    may_read: bool = Field(
        description="Whether one may read what is said there now, and open its WebSocket.", examples=[True]
    )
    messages: list[Message] = Field(
        description="The last 50 that one may read, oldest first; fewer where they would have more than 256 KiB."
    )
    has_older: bool = Field(
        description="Whether there are messages before these: `GET …/messages?before=` answers them.", examples=[True]
    )
    online_members: list[Member] = Field(
        description="Members who are not offline, at most 200; empty where one may not read."
    )


class Joined(BaseModel):
    """Whether one is a member of a room now."""

    room_id: str = Field(description="The room.", examples=["city_podil"])
    joined: bool = Field(description="Whether one is a member.", examples=[True])
    members_online: Count = Field(description="How many of its members are not offline.", examples=[43])


class Typing(BaseModel):
    typing: bool = Field(description="As it was said.", examples=[True])
    expires_in_ms: Count = Field(description="Milliseconds after which it must be said again.", examples=[10000])


# --- presence -----------------------------------------------------------------------------------------


class SubjectPresence(BaseModel):
    """Whether somebody is here, as in the events of the stream."""

    user_id: str = Field(
        description="A citizen's id, `agent:<slug>`, or the Matrix user id of a person on Matrix.",
        examples=["agent:daarwizz"],
    )
    status: Status = Field(description="The strongest state of their live sessions.", examples=["online"])
    status_msg: str | None = Field(description="Their status text.", examples=["слухаю місто"])
    last_active_ago_ms: Count | None = Field(
        description="Milliseconds since their last sign of life; `null` for somebody who was never seen.",
        examples=[4210],
    )


class PresenceEvent(BaseModel):
    """One server-sent event."""

    event: Literal["snapshot", "presence", "resync"] = Field(description="What it is.", examples=["presence"])
    id: str = Field("", description="Its number; a `resync` has none.", examples=["1795317512345682"])
    data: str = Field(
        description="JSON: of a `snapshot` `users`, a list of SubjectPresence, and `seq`; of a `presence` a SubjectPresence "
        "with its `seq`.",
        examples=[
            '{"user_id":"agent:daarwizz","status":"away","status_msg":null,"last_active_ago_ms":1203,"seq":1795317512345682}'
        ],
        json_schema_extra={"contentMediaType": "application/json"},
    )


class Presences(BaseModel):
    presences: list[SubjectPresence] = Field(description="One a subject, in the order asked.")


class OnlineCounts(BaseModel):
    """How many there are."""

    citizens: Count = Field(description="Citizens.", examples=[12])
    agents: Count = Field(description="Agents.", examples=[5])
    people: Count = Field(description="People on Matrix who share a room with the city.", examples=[3])
    total: Count = Field(description="All of them.", examples=[20])


class Summary(BaseModel):
    """How many are here."""

    online: OnlineCounts = Field(description="Everybody who is not offline.")
    away: OnlineCounts = Field(description="How many of them are away.")
    rooms: dict[str, Count] = Field(
        description="How many members of each room are here, by its id.",
        examples=[{"city_general": 18, "city_podil": 7}],
    )


# --- feed and front page ------------------------------------------------------------------------------


class FeedRoom(BaseModel):
    """The room in which something happened."""

    slug: str = Field(description="Its name in addresses.", examples=["podil"])
    name: str = Field(description="What it is called now.", examples=["Поділ"])


class FeedEntry(BaseModel):
    """Something worth telling on the city's front page."""

    id: str = Field(description="The entry's id; ids sort by time.", examples=["01M80JJAXG2C1QZP8Y3B6F5T7K"])
    kind: FeedKind = Field(description="What happened.", examples=["room_message"])
    room_id: str | None = Field(description="Where.", examples=["city_podil"])
    room: FeedRoom | None = Field(
        description="The same as it is called now; `null` where that is not for whoever asks."
    )
    actor: Author | None = Field(description="Who did it.")
    payload: dict[str, str] = Field(
        description="What else is to say. Of a `room_message`: `message_id`, and `body`, cut at 280 characters; of a "
        "`room_created`: `slug`, `name`, `description`; of `system`: `what` (`room_renamed`, `room_archived`, `room_reopened`), "
        "`slug`, `name`, and of a renamed room what it `was` called; of a `member_joined` on the front page that stands for "
        "several: their number as `count`.",
        examples=[{"message_id": "01M80JJAXFTK9TPCTY26E2R4Y5", "body": "Добрий вечір, Подоле!"}],
    )
    created_at: Moment = Field(description="When.")


class SecondMe(BaseModel):
    available: bool = Field(description="Whether one's second me can be asked.", examples=[False])


class Home(BaseModel):
    """The front page."""

    online: OnlineCounts = Field(description="How many are here: everybody who is not offline.")
    feed: list[FeedEntry] = Field(
        description="3 of the last 30 entries, newest first: messages before all else, and joins of one room as one entry."
    )
    popular_rooms: list[Room] = Field(description="The 3 most popular.")
    second_me: SecondMe = Field(description="One's second me.")


# --- errors -------------------------------------------------------------------------------------------


class FieldError(BaseModel):
    field: str = Field(description="Which field is wrong; `body` for all of it.", examples=["name"])
    message: str = Field(description="What is wrong.", examples=["String should have at least 1 character"])


class Problem(BaseModel):
    """An error, as RFC 9457 has them."""

    type: str = Field(description="The code as a URI.", examples=["urn:daarion:problem:invalid"])
    title: str = Field(description="The status in words.", examples=["Unprocessable Entity"])
    status: int = Field(description="The HTTP status.", examples=[422])
    code: str = Field(description="Stable, meant for programs.", examples=["invalid"])
    detail: str = Field(
        description="A sentence meant for people.", examples=["name: String should have at least 1 character"]
    )
    errors: list[FieldError] = Field(
        [], description="Each mistake; with the code `invalid` only, where fields are wrong."
    )
