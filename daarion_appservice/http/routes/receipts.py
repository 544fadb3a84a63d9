"""The route ``/city/rooms/{room_id}/receipts``: how far members have read a room."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import Field

from ...city.history_visibility import is_known_to, may_subscribe
from ...city.identity import Identities
from ...city.member_lookup import MemberLookup
from ...city.reader_memberships import ReaderMemberships
from ...city.receipts import Receipt
from ...city.types import MessageId, SubjectId
from ...errors import NotFound
from ...realtime.receipt_writer import named_receipts
from ...storage.database import Database
from .. import schemas
from ..auth.principals import Access, author_of, is_admin
from ..author_views import receipt_view
from ..routing import Call, NoBody, Query, endpoint

_MAX: Final = 500


class ReceiptListQuery(Query):
    """The timeline and the number of receipts."""

    thread_root: str | None = Field(
        None,
        max_length=64,
        description="The message id of a thread's root; by default the main timeline.",
        examples=["01M80JJAXFTK9TPCTY26E2R4Y5"],
    )
    limit: int = Field(200, ge=1, le=_MAX, description="The maximum number of receipts.", examples=[200])


@dataclass(frozen=True, slots=True)
class ReceiptRoutes:
    database: Database
    readers: ReaderMemberships
    members: MemberLookup
    identities: Identities

    @endpoint(
        "GET",
        "/city/rooms/{room_id}/receipts",
        access=Access.READERS,
        query=ReceiptListQuery,
        summary="List read receipts of a room",
        response=list[schemas.Receipt],
        errors=("no_such_room",),
    )
    async def list_receipts(self, call: Call[NoBody, ReceiptListQuery]) -> list[schemas.Receipt]:
        """Returns the last message that each member has read in the main timeline or in a thread: of citizens and agents by
        `PUT …/read`, of Matrix users by their public receipts (`m.read`; `m.read.private` is never shown). The newest messages
        come first. A message counts as read by its author, without a receipt.

        There are none for a client that may not read the room's new messages, of readers who left the room, and at messages that
        the client may not read. Changes arrive as `city.room.read`.
        """
        query, name = call.query, call.path["room_id"]
        async with self.database.read_only() as tx:
            room = await tx.rooms.find_shown(name)
            readable = await self.readers.readable_ranges(tx, room, author_of(call.principal)) if room else None
            is_reader_admin = is_admin(call.principal)
            if room is None or readable is None or not is_known_to(room, readable, is_admin=is_reader_admin):
                raise NotFound("no_such_room", f"there is no room {name!r}")
            if not may_subscribe(room, readable):
                return []
            root = MessageId(query.thread_root) if query.thread_root else None
            receipts = await tx.receipts.of_room(room.id, root, limit=_MAX, readable=readable)
            present = await self.members.persons_in(tx, room.id, (each.key.reader for each in receipts))
            newest = self._one_by_person([each for each in receipts if each.key.reader in present])[: query.limit]
            named = await named_receipts(tx, room.id, newest, self.identities)
        return [receipt_view(each, self.identities) for each in named]

    def _one_by_person(self, receipts: list[Receipt]) -> list[Receipt]:
        """Return the first receipt of each person."""
        first: dict[SubjectId, Receipt] = {}
        for receipt in receipts:
            first.setdefault(self.identities.accounts.canonical_subject(receipt.key.reader), receipt)
        return list(first.values())
