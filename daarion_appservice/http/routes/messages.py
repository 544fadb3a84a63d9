"""The routes ``/city/rooms/{room_id}/messages``: reading, posting, editing and deleting messages, and reactions."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field, model_validator

from ...city.identity import Identities
from ...city.message_edits import MessageEdits
from ...city.messages import Draft, Messages
from ...city.reactions import Reactions
from ...city.types import Message
from .. import schemas
from ..auth.authors import ActorDirectory
from ..auth.principals import Access, Citizen, Principal
from ..message_pages import Place
from ..room_responses import CachedRoomResponses, RoomPageResponse
from ..routing import Body, Call, NoBody, NoQuery, Query, ResponseSpec, endpoint
from ..views import JSON, message_view

_MESSAGES: Final = "/city/rooms/{room_id}/messages"
_MESSAGE: Final = _MESSAGES + "/{message_id}"
_REACTION: Final = _MESSAGE + "/reactions/{emoji}"

_THERE: Final = ("no_such_room", "no_such_message", "room_archived")
_SPEAKING: Final = (*_THERE, "banned", "kicked")
_WORDING: Final = ("message_empty", "message_too_long")


class MessageList(Query):
    before: int | None = Field(
        None, ge=-(1 << 53), le=1 << 53, description="Messages whose `seq` is lower than this.", examples=[1024]
    )
    after: int | None = Field(
        None, ge=-(1 << 53), le=1 << 53, description="Messages whose `seq` is higher than this.", examples=[1024]
    )
    around: str | None = Field(
        None,
        max_length=64,
        description="The id of a message: it, and what was said before and after it.",
        examples=["01M80JJ9ZZ3VJ0Q4Y7V1B2N3M4"],
    )
    limit: int = Field(50, ge=1, le=200, description="How many.", examples=[50])

    @model_validator(mode="after")
    def _has_one_place(self) -> MessageList:
        if sum(each is not None for each in (self.before, self.after, self.around)) > 1:
            raise ValueError("give one of before, after and around")
        return self


class NewMessage(Body):
    body: str = Field(
        "",
        description="Markdown; `@slug` means an agent, `@name:server` somebody on Matrix. May be left out with `media`.",
        examples=["Добрий вечір, **Подоле**! @daarwizz, що нового?"],
    )
    msgtype: Literal["m.text", "m.emote", "m.notice"] = Field(
        "m.text", description="What it is, as Matrix calls it.", examples=["m.text"]
    )
    reply_to: str | None = Field(
        None,
        max_length=64,
        description="The id of the message that it answers.",
        examples=["01M80JJ9ZZ3VJ0Q4Y7V1B2N3M4"],
    )
    client_id: str | None = Field(
        None,
        min_length=1,
        max_length=255,
        description="By which the same message, sent again, is known.",
        examples=["tab1-42"],
    )
    media: str | None = Field(
        None,
        max_length=512,
        description="The `mxc` of a file that one has brought in; `body` is what one says of it, and `msgtype` counts no more.",
        examples=["mxc://daarion.space/SEsfnsuifSDFSSEF"],
    )

    def draft(self) -> Draft:
        return Draft(self.body, self.msgtype, self.reply_to, self.client_id, self.media)


class NewText(Body):
    body: str = Field(description="Markdown, as of a new message.", examples=["Добрий вечір, **Подоле**!"])


class MessageRoutes:
    def __init__(
        self,
        pages: CachedRoomResponses,
        messages: Messages,
        changes: MessageEdits,
        reactions: Reactions,
        authors: ActorDirectory,
        identities: Identities,
    ) -> None:
        self._pages = pages
        self._messages = messages
        self._changes = changes
        self._reactions = reactions
        self._authors = authors
        self._identities = identities

    @endpoint(
        "GET",
        _MESSAGES,
        who=Access.READERS,
        query=MessageList,
        summary="What was said in a room",
        answer=list[schemas.Message],
        errors=("no_such_room", "no_such_message"),
    )
    async def list_messages(self, call: Call[NoBody, MessageList]) -> ResponseSpec:
        """Oldest first, and only what one may read. To go back ask again with ``before`` = the ``seq`` of the first; to go on,
        with ``after`` = that of the last. ``around`` begins at a message that is linked to. One of the three at most.

        There are fewer than `limit` where they would have more than 256 KiB together. Where there are more, a header `Link` says
        so: `rel="prev"` is the address of the page before this one, `rel="next"` that of the one after it.
        """
        query = call.query
        place = Place(query.before, query.after, query.around)
        page = await self._pages.messages(call.path["room_id"], call.principal, place, limit=query.limit)
        return ResponseSpec(page.messages, 200, _links(page, query.limit))

    @endpoint(
        "POST",
        _MESSAGES,
        who=Access.INHABITANTS,
        body=NewMessage,
        status=201,
        summary="Say something",
        answer=schemas.Message,
        also={200: "The first message with this `client_id`: nothing is said twice."},
        errors=(*_SPEAKING, *_WORDING, "no_such_media"),
    )
    async def post_message(self, call: Call[NewMessage, NoQuery]) -> ResponseSpec:
        """It is stored when this answers, and goes to Matrix as soon as the homeserver takes it (``delivery``)."""
        author = await self._authors.seen(call.principal)
        posted = await self._messages.post(author, call.path["room_id"], call.body.draft())
        return ResponseSpec(self._message(posted.message), status=201 if posted.is_new else 200)

    @endpoint(
        "PATCH",
        _MESSAGE,
        who=Access.INHABITANTS,
        body=NewText,
        summary="Change one's message",
        answer=schemas.Message,
        errors=(*_SPEAKING, *_WORDING, "not_yours", "message_deleted"),
    )
    async def edit_message(self, call: Call[NewText, NoQuery]) -> JSON:
        author = await self._authors.seen(call.principal)
        return self._message(
            await self._changes.edit(author, call.path["room_id"], call.path["message_id"], call.body.body)
        )

    @endpoint(
        "DELETE",
        _MESSAGE,
        who=Access.INHABITANTS,
        summary="Take back one's message",
        answer=schemas.Message,
        errors=(*_THERE, "not_yours"),
    )
    async def delete_message(self, call: Call[NoBody, NoQuery]) -> JSON:
        """A citizen who is an admin may take back anybody's. One that was taken back already stays so."""
        author = await self._authors.seen(call.principal)
        return self._message(
            await self._changes.delete(
                author, call.path["room_id"], call.path["message_id"], may_moderate=_may_moderate(call.principal)
            )
        )

    @endpoint(
        "POST",
        _MESSAGE + "/retry",
        who=Access.INHABITANTS,
        summary="Send a message to Matrix once more",
        answer=schemas.Message,
        errors=(*_SPEAKING, "not_yours"),
    )
    async def send_again(self, call: Call[NoBody, NoQuery]) -> JSON:
        """Of those that Matrix did not take (`delivery` is `failed`); any other is left as it is. An admin may for anybody."""
        author, path = await self._authors.seen(call.principal), call.path
        return self._message(
            await self._messages.retry_delivery(
                author, path["room_id"], path["message_id"], may_moderate=_may_moderate(call.principal)
            )
        )

    @endpoint(
        "PUT",
        _REACTION,
        who=Access.INHABITANTS,
        summary="Give a message a sign",
        answer=schemas.Message,
        errors=(*_SPEAKING, "message_deleted", "too_many_reactions", "no_emoji"),
    )
    async def react(self, call: Call[NoBody, NoQuery]) -> JSON:
        """The same sign again changes nothing."""
        author, path = await self._authors.seen(call.principal), call.path
        return self._message(await self._reactions.give(author, path["room_id"], path["message_id"], path["emoji"]))

    @endpoint(
        "DELETE",
        _REACTION,
        who=Access.INHABITANTS,
        summary="Take a sign back",
        answer=schemas.Message,
        errors=_THERE,
    )
    async def take_reaction_back(self, call: Call[NoBody, NoQuery]) -> JSON:
        """One that was not given is no error."""
        author, path = await self._authors.seen(call.principal), call.path
        return self._message(
            await self._reactions.take_back(author, path["room_id"], path["message_id"], path["emoji"])
        )

    def _message(self, message: Message) -> JSON:
        return message_view(message, self._identities)


def _may_moderate(principal: Principal) -> bool:
    return isinstance(principal, Citizen) and principal.is_admin


def _links(page: RoomPageResponse, limit: int) -> dict[str, str]:
    """Return the header ``Link`` (RFC 8288) with the addresses of the older and newer pages."""
    address = _MESSAGES.format(room_id=page.room.id)
    links = []
    if page.older_before is not None:
        links.append(f'<{address}?before={page.older_before}&limit={limit}>; rel="prev"')
    if page.newer_after is not None:
        links.append(f'<{address}?after={page.newer_after}&limit={limit}>; rel="next"')
    return {"Link": ", ".join(links)} if links else {}
