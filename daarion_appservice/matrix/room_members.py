"""Who joins and leaves, written down: as members, and as part of the room's history.

Whoever finds out first writes it down (we joined a ghost, an event came, the whole list was asked for); the others find it
written, and it stands in the history once.
"""

from __future__ import annotations

from ..city.events import CityEvent, MembershipChanged, RoomHappened
from ..city.feed import FeedWriter
from ..city.ports import NewId, NowMs
from ..city.types import Author, AuthorKind, Member, RoomEvent, RoomEventKind, RoomId, UserId
from ..storage.database import Transaction
from .namespace import Namespace, Staff


class RoomMembers:
    """Both calls are part of the caller's transaction, and return what to publish once that is committed."""

    def __init__(self, namespace: Namespace, now_ms: NowMs, new_id: NewId) -> None:
        self._namespace = namespace
        self._now_ms = now_ms
        self._feed = FeedWriter(new_id)

    async def join(self, tx: Transaction, room: RoomId, members: list[Member]) -> list[CityEvent]:
        """They are in the room, and are called like this there."""
        await tx.rooms.hold(room)
        known = {member.user_id: member for member in await tx.members.some(room, [each.user_id for each in members])}
        await tx.members.put([member for member in members if known.get(member.user_id) != member])
        new = [member for member in members if member.user_id not in known]
        return await self._write(tx, room, RoomEventKind.JOIN, new)

    async def leave(self, tx: Transaction, room: RoomId, users: list[UserId]) -> list[CityEvent]:
        """They are not in the room."""
        await tx.rooms.hold(room)
        gone = await tx.members.some(room, users)
        await tx.members.remove(room, [member.user_id for member in gone])
        return await self._write(tx, room, RoomEventKind.LEAVE, gone)

    async def _write(
        self, tx: Transaction, room: RoomId, kind: RoomEventKind, members: list[Member]
    ) -> list[CityEvent]:
        who = [(member, author) for member in members if (author := self._author(member)) is not None]
        if not who:
            return []
        at_ms = self._now_ms()
        seqs = await tx.rooms.next_seqs(room, len(who))
        events = [RoomEvent(room, seq, kind, at_ms, who=author) for seq, (_, author) in zip(seqs, who, strict=True)]
        await tx.room_events.add(events)
        if kind is RoomEventKind.JOIN:
            # Agents live where the registry says; that is no news.
            people = [author for _, author in who if author.kind is not AuthorKind.AGENT]
            await tx.feed.add([self._feed.joined(room, author, at_ms) for author in people])
        # Counted first, and then told with the count.
        changed = [self._changed(member, joined=kind is RoomEventKind.JOIN) for member, _ in who]
        return [*changed, *map(RoomHappened, events)]

    def _changed(self, member: Member, *, joined: bool) -> MembershipChanged:
        subject = self._namespace.subject(member.user_id)
        assert subject is not None
        return MembershipChanged(member.room_id, subject, joined)

    def _author(self, member: Member) -> Author | None:
        """None for the city's own staff, and for ghosts that nobody has."""
        who = self._namespace.who(member.user_id)
        if isinstance(who, Staff) or self._namespace.subject(member.user_id) is None:
            return None
        kind, author_id = who
        return Author(kind, author_id, member.display_name or author_id, member.avatar_url)
