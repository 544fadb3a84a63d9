"""The routes ``/city/rooms/{room_id}/threads``: the threads of a room and their replies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import Field

from .. import schemas
from ..auth.principals import Access
from ..room_responses import CachedRoomResponses
from ..routing import Call, NoBody, Query, ResponseSpec, endpoint
from .messages import MessagePageQuery, page_links

_THREADS: Final = "/city/rooms/{room_id}/threads"
_THREAD: Final = _THREADS + "/{message_id}"


class ThreadPageQuery(Query):
    """The position of a page of threads."""

    before: int | None = Field(
        None,
        ge=-(1 << 53),
        le=1 << 53,
        description="Only threads whose `thread.last_seq` is lower than this.",
        examples=[1040],
    )
    limit: int = Field(20, ge=1, le=100, description="The maximum number of threads.", examples=[20])


@dataclass(frozen=True, slots=True)
class ThreadRoutes:
    pages: CachedRoomResponses

    @endpoint(
        "GET",
        _THREADS,
        access=Access.READERS,
        query=ThreadPageQuery,
        summary="List threads of a room",
        response=list[schemas.Message],
        errors=("no_such_room",),
    )
    async def list_threads(self, call: Call[NoBody, ThreadPageQuery]) -> ResponseSpec:
        """Returns the roots of the threads, the one with the newest reply first; none to a client that may not read the room's
        new messages.

        The header `Link` has the address of the next page, where there may be more threads (`rel="next"`).
        """
        query = call.query
        page = await self.pages.threads(call.path["room_id"], call.principal, query.before, limit=query.limit)
        address = _THREADS.format(room_id=page.room.id)
        more = {"Link": f'<{address}?before={page.older_before}&limit={query.limit}>; rel="next"'}
        return ResponseSpec(page.roots, 200, more if page.older_before is not None else {})

    @endpoint(
        "GET",
        _THREAD,
        access=Access.READERS,
        query=MessagePageQuery,
        summary="List replies of a thread",
        response=list[schemas.Message],
        errors=("no_such_room", "no_such_message"),
    )
    async def list_replies(self, call: Call[NoBody, MessagePageQuery]) -> ResponseSpec:
        """Returns the replies in the thread of a message, oldest first and without that message; by default the newest. The pages
        are those of `GET /city/rooms/{room_id}/messages`. A message without a thread has no replies.
        """
        root, query = call.path["message_id"], call.query
        position = query.position(thread=root)
        page = await self.pages.messages(call.path["room_id"], call.principal, position, limit=query.limit)
        address = _THREAD.format(room_id=page.room.id, message_id=root)
        return ResponseSpec(page.messages, 200, page_links(address, page, query.limit))
