"""The response models of messages and media."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from ...city.delivery_errors import DeliveryError
from ...city.types import Delivery
from .authors import Author
from .message_kinds import Location, Poll
from .types import Count, Timestamp


class Media(TypedDict):
    """An image, audio, video or other file."""

    mxc: Annotated[
        str,
        Field(
            description="The `mxc://` URI; a message that shall contain the file has it as `media`.",
            examples=["mxc://daarion.space/SEsfnsuifSDFSSEF"],
        ),
    ]
    url: Annotated[
        str | None,
        Field(
            description="The path of the file on this server.", examples=["/city/media/daarion.space/SEsfnsuifSDFSSEF"]
        ),
    ]
    thumbnail_url: Annotated[
        str | None,
        Field(
            description="The path of a thumbnail on this server; `null` if there is none.",
            examples=["/city/media/daarion.space/SEsfnsuifSDFSSEF/thumbnail?width=800&height=600&method=scale"],
        ),
    ]
    mimetype: Annotated[str, Field(description="The media type.", examples=["image/jpeg"])]
    filename: Annotated[str, Field(description="The file name.", examples=["фунікулер.jpg"])]
    size: Annotated[Count | None, Field(description="The size in bytes, if known.", examples=[48211])]
    width: Annotated[Count | None, Field(description="The width in pixels, if known.", examples=[1280])]
    height: Annotated[Count | None, Field(description="The height in pixels, if known.", examples=[960])]
    duration_ms: Annotated[Count | None, Field(description="The duration in milliseconds, if known.", examples=[None])]
    voice: Annotated[bool, Field(description="Whether the file is a voice message.", examples=[False])]
    waveform: Annotated[
        Sequence[int],
        Field(
            description="Loudness values of an audio file, 0 to 1024, at equal distances of time; empty if unknown.",
            examples=[[]],
        ),
    ]
    sticker: Annotated[bool, Field(description="Whether the image is a sticker.", examples=[False])]


class ReactionCount(TypedDict):
    """The number of reactions to a message with the same key."""

    emoji: Annotated[
        str,
        Field(
            description="The reaction key: an emoji (with or without U+FE0F it is the same), a text, or the `mxc://` URI of an "
            "image.",
            examples=["🌻"],
        ),
    ]
    count: Annotated[Count, Field(description="The number of reactions.", examples=[2])]
    by: Annotated[
        Sequence[str],
        Field(
            description="The subjects of the first 20 reactions: citizen ids, `agent:<slug>`, Matrix user ids.",
            examples=[["u_123", "@olena:daarion.space"]],
        ),
    ]
    url: Annotated[
        str | None,
        Field(description="The path of the image on this server, where `emoji` is an `mxc://` URI.", examples=[None]),
    ]
    shortcode: Annotated[
        str | None, Field(description="The shortcode of the image, where its sender set one.", examples=[None])
    ]


class ThreadSummary(TypedDict):
    """The replies of a thread. It changes with each reply: clients receive it as an update of the root."""

    count: Annotated[Count, Field(description="The number of replies that are not deleted.", examples=[12])]
    last_seq: Annotated[int, Field(description="The `seq` of the newest reply.", examples=[1040])]
    last_reply_at: Annotated[Timestamp, Field(description="The time of the newest reply.")]
    authors: Annotated[
        list[Author], Field(description="The authors of the newest replies, each once, at most 5, newest first.")
    ]


class Message(TypedDict):
    """A message in a room, sent from the city or from Matrix."""

    id: Annotated[str, Field(description="The message id; ids sort by time.", examples=["01M80JJAXFTK9TPCTY26E2R4Y5"])]
    room_id: Annotated[str, Field(description="The room id.", examples=["city_podil"])]
    seq: Annotated[
        int,
        Field(
            description="The sequence number in the room's history, which increases by one with each event. History that was "
            "imported later has lower numbers than older events; they may be negative.",
            examples=[1024],
        ),
    ]
    author: Annotated[Author, Field(description="The author.")]
    body: Annotated[str, Field(description="The text.", examples=["Добрий вечір, Подоле!"])]
    formatted_body: Annotated[
        str | None,
        Field(
            description="The text as HTML, `null` where it would add nothing. It contains only elements that the Matrix "
            "specification allows clients to display, and can be inserted into a page unchanged.",
            examples=["Добрий вечір, <b>Подоле</b>!"],
        ),
    ]
    msgtype: Annotated[
        str,
        Field(
            description="The Matrix message type: `m.text`, `m.emote`, `m.notice`, `m.image`, `m.file`, `m.audio`, `m.video` "
            "or `m.location`.",
            examples=["m.text"],
        ),
    ]
    media: Annotated[
        Media | None, Field(description="The file of the message. Of an encrypted file only the name is known.")
    ]
    poll: Annotated[
        Poll | None, Field(description="The poll that the message starts; `body` has its text for other clients.")
    ]
    location: Annotated[Location | None, Field(description="The place that the message shows (`m.location`).")]
    unsupported: Annotated[
        bool,
        Field(
            description="Whether the message is of a kind that the city does not know, and `body` is its fallback text.",
            examples=[False],
        ),
    ]
    original_type: Annotated[
        str | None,
        Field(description="The event type or `msgtype` of an `unsupported` message.", examples=[None]),
    ]
    mentions_room: Annotated[
        bool, Field(description="Whether the message mentions all members (`@room`).", examples=[False])
    ]
    mentions: Annotated[
        Sequence[str],
        Field(
            description="The mentioned subjects: citizen ids, `agent:<slug>`, Matrix user ids.",
            examples=[["agent:daarwizz"]],
        ),
    ]
    reply_to: Annotated[
        str | None,
        Field(
            description="The id of the message that this message replies to.", examples=["01M80JJ9ZZ3VJ0Q4Y7V1B2N3M4"]
        ),
    ]
    thread_root: Annotated[
        str | None,
        Field(
            description="The id of the root of the thread that the message belongs to; `null` in the main timeline.",
            examples=[None],
        ),
    ]
    thread: Annotated[
        ThreadSummary | None,
        Field(description="The thread whose root this message is; `null` without replies in a thread."),
    ]
    reactions: Annotated[list[ReactionCount], Field(description="The reactions, in the order of their first use.")]
    edited_at: Annotated[
        Timestamp | None,
        Field(
            description="The time of the last edit. An agent's reply that grows while it is generated is not edited."
        ),
    ]
    deleted: Annotated[
        bool,
        Field(
            description="Whether the message was deleted; only its author, `seq` and time remain then.",
            examples=[False],
        ),
    ]
    created_at: Annotated[Timestamp, Field(description="The time of sending.")]
    matrix_event_id: Annotated[
        str | None,
        Field(
            description="The Matrix event id; `null` until the message was sent to Matrix.",
            examples=["$hFVQmhB8-bYg-WTnIx-9kYFiOgwsgU2X7cVZ9DdUB-o"],
        ),
    ]
    delivery: Annotated[
        Delivery,
        Field(
            description="`pending` until the message is on Matrix, then `sent`; `failed` if it was not sent and will not be "
            "tried again.",
            examples=["sent"],
        ),
    ]
    delivery_error: Annotated[
        DeliveryError | None,
        Field(
            description="Why `delivery` is `failed`: the author may not write in the room (`invite_only`, `kicked`, `banned`, "
            "`muted`, `blocked` in a direct chat, or `not_allowed` where the homeserver does not say which), the message was "
            "`deleted` before it was sent, it is `too_large`, the direct chat has ended (`chat_over`) or has other members now "
            "(`not_private`), the user id of the author's ghost belongs to another account (`account_taken`), or the homeserver "
            "refused it for another reason (`refused`).",
            examples=[None],
        ),
    ]
    client_id: Annotated[
        str | None, Field(description="The `client_id` with which the author posted the message.", examples=["tab1-42"])
    ]


class RenderedMarkdown(TypedDict):
    """A rendered text."""

    formatted_body: Annotated[
        str | None,
        Field(
            description="The HTML; null where the plain text suffices.",
            examples=["Добрий вечір, <strong>Подоле</strong>!"],
        ),
    ]
