"""The routes ``/city/rooms/{room_id}/messages``: reading, posting, editing and deleting messages, and reactions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from ...city.identity import Identities
from ...city.message_edits import MessageEdits
from ...city.message_kinds import Location, Poll, PollKind, PollOption
from ...city.messages import Draft, Messages, Voice
from ...city.reactions import Reactions
from ...city.text_sanitizing import one_line
from ...city.types import Message
from .. import schemas
from ..auth.actors import ActorDirectory
from ..auth.principals import Access, is_admin
from ..message_pages import PagePosition
from ..message_views import message_view
from ..room_responses import CachedRoomResponses, RoomPageResponse
from ..routing import Body, Call, NoBody, NoQuery, Query, ResponseSpec, endpoint

_MESSAGES: Final = "/city/rooms/{room_id}/messages"
_MESSAGE: Final = _MESSAGES + "/{message_id}"
_REACTION: Final = _MESSAGE + "/reactions/{emoji}"

_MESSAGE_ERRORS: Final = ("no_such_room", "no_such_message", "room_archived", "room_being_deleted")
_WRITE_ERRORS: Final = (*_MESSAGE_ERRORS, "banned", "kicked", "muted", "invite_only", "room_encrypted")
_TEXT_ERRORS: Final = ("message_empty", "message_too_long")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_OPTION_CHARS: Final = 340
"""Characters of a question or an option: as many as Element accepts of a question."""


class MessagePageQuery(Query):
    """The position of a page of messages."""

    before: int | None = Field(
        None, ge=-(1 << 53), le=1 << 53, description="Only messages whose `seq` is lower than this.", examples=[1024]
    )
    after: int | None = Field(
        None, ge=-(1 << 53), le=1 << 53, description="Only messages whose `seq` is higher than this.", examples=[1024]
    )
    around: str | None = Field(
        None,
        max_length=64,
        description="The id of a message: this message, and messages before and after it.",
        examples=["01M80JJ9ZZ3VJ0Q4Y7V1B2N3M4"],
    )
    around_time: datetime | None = Field(
        None,
        description="A time (RFC 3339): the first message from this time on, and messages before and after it; the newest "
        "messages if there is none.",
        examples=["2026-11-22T18:05:05Z"],
    )
    limit: int = Field(50, ge=1, le=200, description="The maximum number of messages.", examples=[50])

    @model_validator(mode="after")
    def _check_one_position(self) -> Self:
        if sum(each is not None for each in (self.before, self.after, self.around, self.around_time)) > 1:
            raise ValueError("give one of before, after, around and around_time")
        return self

    def position(self, *, thread: str | None = None) -> PagePosition:
        """Return the position in the room's history, or in a thread."""
        return PagePosition(self.before, self.after, self.around, thread, self._around_ms())

    def _around_ms(self) -> int | None:
        if self.around_time is None:
            return None
        time = self.around_time if self.around_time.tzinfo else self.around_time.replace(tzinfo=UTC)
        return (time - _EPOCH) // timedelta(milliseconds=1)


class NewVoice(Body):
    """What a voice message has besides its file."""

    duration_ms: int = Field(ge=0, le=86_400_000, description="The duration in milliseconds.", examples=[4200])
    waveform: list[Annotated[int, Field(ge=0, le=1024)]] = Field(
        [],
        max_length=256,
        description="Loudness values at equal distances of time.",
        examples=[[0, 512, 1024, 300]],
    )


class NewPoll(Body):
    """A poll to start. The ids of the options are `1`, `2` and so on."""

    question: str = Field(min_length=1, max_length=340, description="The question.", examples=["Куди йдемо?"])
    options: list[Annotated[str, Field(min_length=1, max_length=340)]] = Field(
        min_length=1, max_length=20, description="The texts of the options.", examples=[["Фунікулер", "Поштова площа"]]
    )
    kind: PollKind = Field(
        PollKind.DISCLOSED,
        description="`disclosed`: the results are shown at once; `undisclosed`: after the end.",
        examples=["disclosed"],
    )
    max_selections: int = Field(
        1, ge=1, le=20, description="The number of options that one voter may select.", examples=[1]
    )

    @model_validator(mode="after")
    def _check_texts(self) -> NewPoll:
        if not all(map(one_line, [self.question, *self.options])):
            raise ValueError("question and options need a text")
        if self.max_selections > len(self.options):
            raise ValueError("max_selections is more than there are options")
        return self

    def poll(self) -> Poll:
        options = tuple(
            PollOption(str(number), one_line(text, _MAX_OPTION_CHARS))
            for number, text in enumerate(self.options, start=1)
        )
        return Poll(one_line(self.question, _MAX_OPTION_CHARS), options, self.kind, self.max_selections)


class NewLocation(Body):
    """A place to show."""

    latitude: float = Field(ge=-90, le=90, description="The latitude in degrees (WGS 84).", examples=[50.462])
    longitude: float = Field(ge=-180, le=180, description="The longitude in degrees (WGS 84).", examples=[30.518])
    accuracy_m: float | None = Field(None, ge=0, le=1e8, description="The uncertainty in metres.", examples=[35.0])
    description: str | None = Field(None, max_length=255, description="A description.", examples=["Поштова площа"])

    def location(self) -> Location:
        return Location(self.latitude, self.longitude, self.accuracy_m, one_line(self.description or "") or None)


class NewMessage(Body):
    """A message to post."""

    body: str = Field(
        "",
        description="The text, Markdown, at most 48,000 bytes as JSON. `@slug` mentions an agent, `@name:server` a Matrix user. "
        "Optional with `media`, of which it is the caption.",
        examples=["Добрий вечір, **Подоле**! @daarwizz, що нового?"],
    )
    msgtype: Literal["m.text", "m.emote", "m.notice"] = Field(
        "m.text", description="The Matrix message type; with `media` it is ignored.", examples=["m.text"]
    )
    reply_to: str | None = Field(
        None,
        max_length=64,
        description="The id of the message in the same room that this message replies to.",
        examples=["01M80JJ9ZZ3VJ0Q4Y7V1B2N3M4"],
    )
    thread_root: str | None = Field(
        None,
        max_length=64,
        description="The id of the message whose thread this message continues or begins. A reply to a message of a thread "
        "belongs to that thread without it.",
        examples=[None],
    )
    client_id: str | None = Field(
        None,
        min_length=1,
        max_length=255,
        description="An idempotency key of the author's client: a repeated request returns the first message.",
        examples=["tab1-42"],
    )
    media: str | None = Field(
        None,
        max_length=512,
        description="The `mxc` of a file that the author uploaded.",
        examples=["mxc://daarion.space/SEsfnsuifSDFSSEF"],
    )

    voice: NewVoice | None = Field(
        None, description="Makes a message with an audio file as `media` a voice message.", examples=[None]
    )
    poll: NewPoll | None = Field(None, description="A poll to start, instead of `body` and `media`.", examples=[None])
    location: NewLocation | None = Field(
        None,
        description="A place to show, instead of `media`; without `body` its description is the text.",
        examples=[None],
    )

    @model_validator(mode="after")
    def _check_one_kind(self) -> NewMessage:
        if sum(each is not None for each in (self.media, self.poll, self.location)) > 1:
            raise ValueError("give one of media, poll and location")
        if self.voice is not None and self.media is None:
            raise ValueError("voice needs media")
        if self.poll is not None and self.body.strip():
            raise ValueError("a poll makes the text of its message itself: leave body empty")
        return self

    def draft(self) -> Draft:
        return Draft(
            self.body,
            self.msgtype,
            self.reply_to,
            self.client_id,
            self.media,
            self.thread_root,
            Voice(self.voice.duration_ms, tuple(self.voice.waveform)) if self.voice else None,
            self.poll.poll() if self.poll else None,
            self.location.location() if self.location else None,
        )


class MessageEdit(Body):
    """The new content of a message."""

    body: str = Field(description="The new text, as of a new message.", examples=["Добрий вечір, **Подоле**!"])


@dataclass(frozen=True, slots=True)
class MessageRoutes:
    pages: CachedRoomResponses
    messages: Messages
    message_edits: MessageEdits
    reactions: Reactions
    authors: ActorDirectory
    identities: Identities

    @endpoint(
        "GET",
        _MESSAGES,
        access=Access.READERS,
        query=MessagePageQuery,
        summary="List messages of a room",
        response=list[schemas.Message],
        errors=("no_such_room", "no_such_message"),
    )
    async def list_messages(self, call: Call[NoBody, MessagePageQuery]) -> ResponseSpec:
        """Returns messages that the client may read, oldest first; by default the newest. At most one of `before`, `after`,
        `around` and `around_time` is allowed.

        The previous page is the one with `before` = the `seq` of the first message, the next page the one with `after` = that of
        the last message; an empty list is the end. The header `Link` has the addresses of both, where there are more messages:
        `rel="prev"` for older and `rel="next"` for newer ones.

        A page has at most 256 KiB (but at least one message), so it may have fewer than `limit` messages without being the last.
        """
        query = call.query
        page = await self.pages.messages(call.path["room_id"], call.principal, query.position(), limit=query.limit)
        return ResponseSpec(page.messages, 200, page_links(_MESSAGES.format(room_id=page.room.id), page, query.limit))

    @endpoint(
        "POST",
        _MESSAGES,
        access=Access.ACTORS,
        body=NewMessage,
        status=201,
        summary="Post a message",
        response=schemas.Message,
        other_statuses={200: "The first message with this `client_id`; no second message is posted."},
        errors=(*_WRITE_ERRORS, *_TEXT_ERRORS, "no_such_media", "no_audio", "no_thread_root", "other_thread"),
    )
    async def post_message(self, call: Call[NewMessage, NoQuery]) -> ResponseSpec:
        """The message is stored before the response, and sent to Matrix as soon as the homeserver accepts it (see `delivery`).

        An agent that is mentioned, addressed by its name at the beginning, or replied to posts a reply, which may grow by edits.
        If the agent is offline or fails, a notice (`m.notice`) says so.
        """
        author = await self.authors.with_avatar(call.principal)
        posted = await self.messages.post(author, call.path["room_id"], call.body.draft())
        return ResponseSpec(self._message(posted.message), status=201 if posted.is_new else 200)

    @endpoint(
        "PATCH",
        _MESSAGE,
        access=Access.ACTORS,
        body=MessageEdit,
        summary="Edit a message",
        response=schemas.Message,
        errors=(*_WRITE_ERRORS, *_TEXT_ERRORS, "not_yours", "message_deleted", "poll_not_editable", "sent_on_matrix"),
    )
    async def edit_message(self, call: Call[MessageEdit, NoQuery]) -> schemas.Message:
        """For the author of the message. A message that a linked person sent on Matrix can be edited there only."""
        author = await self.authors.with_avatar(call.principal)
        return self._message(
            await self.message_edits.edit(author, call.path["room_id"], call.path["message_id"], call.body.body)
        )

    @endpoint(
        "DELETE",
        _MESSAGE,
        access=Access.ACTORS,
        summary="Delete a message",
        response=schemas.Message,
        errors=(*_MESSAGE_ERRORS, "not_yours", "sent_on_matrix"),
    )
    async def delete_message(self, call: Call[NoBody, NoQuery]) -> schemas.Message:
        """For the author of the message, and for citizens with the admin claim. On Matrix the message is redacted. Returns what
        remains of the message; deleting it again returns the same. In a direct chat that was opened on Matrix, a message that the
        linked account sent can be deleted if the power levels let the agent redact.
        """
        author = await self.authors.with_avatar(call.principal)
        return self._message(
            await self.message_edits.delete(
                author, call.path["room_id"], call.path["message_id"], may_moderate=is_admin(call.principal)
            )
        )

    @endpoint(
        "POST",
        _MESSAGE + "/retry",
        access=Access.ACTORS,
        summary="Retry sending a message to Matrix",
        response=schemas.Message,
        errors=(*_WRITE_ERRORS, "not_yours"),
    )
    async def retry_message(self, call: Call[NoBody, NoQuery]) -> schemas.Message:
        """For the author of a message whose `delivery` is `failed`, and for citizens with the admin claim; any other message is
        returned unchanged.
        """
        author, path = await self.authors.with_avatar(call.principal), call.path
        return self._message(
            await self.messages.retry_delivery(
                author, path["room_id"], path["message_id"], may_moderate=is_admin(call.principal)
            )
        )

    @endpoint(
        "PUT",
        _REACTION,
        access=Access.ACTORS,
        summary="Add a reaction",
        response=schemas.Message,
        errors=(*_WRITE_ERRORS, "message_deleted", "too_many_reactions", "reaction_key_invalid"),
    )
    async def add_reaction(self, call: Call[NoBody, NoQuery]) -> schemas.Message:
        """Each author can add a reaction key once; adding it again changes nothing."""
        author, path = await self.authors.with_avatar(call.principal), call.path
        return self._message(await self.reactions.add(author, path["room_id"], path["message_id"], path["emoji"]))

    @endpoint(
        "DELETE",
        _REACTION,
        access=Access.ACTORS,
        summary="Remove a reaction",
        response=schemas.Message,
        errors=(*_MESSAGE_ERRORS, "sent_on_matrix"),
    )
    async def remove_reaction(self, call: Call[NoBody, NoQuery]) -> schemas.Message:
        """Removes the client's own reaction; if there is none, the message is returned unchanged. In a direct chat that was
        opened on Matrix, a reaction of the linked account can be removed if the power levels let the agent redact.
        """
        author, path = await self.authors.with_avatar(call.principal), call.path
        return self._message(await self.reactions.remove(author, path["room_id"], path["message_id"], path["emoji"]))

    def _message(self, message: Message) -> schemas.Message:
        return message_view(message, self.identities)


def page_links(address: str, page: RoomPageResponse, limit: int) -> dict[str, str]:
    """Return the header ``Link`` (RFC 8288) with the addresses of the older and newer pages of ``address``."""
    links = []
    if page.older_before is not None:
        links.append(f'<{address}?before={page.older_before}&limit={limit}>; rel="prev"')
    if page.newer_after is not None:
        links.append(f'<{address}?after={page.newer_after}&limit={limit}>; rel="next"')
    return {"Link": ", ".join(links)} if links else {}
