"""Who joins and leaves, written down: as members, and as part of the room's history.

Whoever finds out first writes it down (a citizen joined in the city, we joined a ghost, an event came, the whole list was
asked for); the others find it written, and it stands in the history once. What the city said of a ghost and Matrix was not
told yet (a move that waits in the outbox) outweighs what Matrix says of it meanwhile, unless somebody there puts it out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from .events import CityEvent, MemberChanged, MembershipChanged, RoomEventStored
from .feed import FeedWriter
from .identity import Identities, ServiceUser
from .media import is_mxc
from .ports import CityTransaction, NewId, NowMs
from .text_sanitizing import one_line
from .types import Author, AuthorKind, Member, OutboxKind, Removal, RoomEvent, RoomEventKind, RoomId, UserId


class MemberLog:
    """All calls are part of the caller's transaction, and return what to publish once that is committed."""

    def __init__(self, identities: Identities, now_ms: NowMs, new_id: NewId) -> None:
        self._identities = identities
        self._now_ms = now_ms
        self._feed = FeedWriter(new_id)

    # --- as the city says ---------------------------------------------------------------------------------

    def member(self, room: RoomId, who: Author) -> Member:
        """Somebody of the city, as a member that a room would have."""
        return Member(room, self._identities.author(who), who.display_name, who.avatar_url)

    async def enter(self, tx: CityTransaction, member: Member) -> list[CityEvent]:
        """They are in the room from now on, whatever Matrix says until it was told."""
        await tx.rooms.hold(member.room_id)
        return await self._come(tx, member.room_id, [member])

    async def quit(self, tx: CityTransaction, member: Member) -> list[CityEvent]:
        """They are not in the room from now on, whatever Matrix says until it was told."""
        await tx.rooms.hold(member.room_id)
        return await self._go(tx, member.room_id, [member.user_id])

    # --- as Matrix says -----------------------------------------------------------------------------------

    async def join(self, tx: CityTransaction, room: RoomId, members: list[Member]) -> list[CityEvent]:
        """They are in the room, and are called like this there."""
        await tx.rooms.hold(room)
        moving = await self._moving(tx, room, [member.user_id for member in members])
        return await self._come(
            tx, room, [member for member in members if moving.get(member.user_id) is not OutboxKind.LEAVE]
        )

    async def leave(self, tx: CityTransaction, room: RoomId, users: list[UserId]) -> list[CityEvent]:
        """They are not in the room."""
        await tx.rooms.hold(room)
        moving = await self._moving(tx, room, users)
        return await self._go(tx, room, [user for user in users if moving.get(user) is not OutboxKind.JOIN])

    async def invited(self, tx: CityTransaction, room: RoomId, user: UserId) -> list[CityEvent]:
        """Somebody invited them; who was in the room is not any more."""
        happened = await self.leave(tx, room, [user])
        seqs, _ = await tx.rooms.next_seqs(room, 0)
        await tx.membership_periods.invited(room, user, seqs.stop)
        return happened

    async def removed(
        self, tx: CityTransaction, room: RoomId, user: UserId, removal: Removal | None = None
    ) -> list[CityEvent]:
        """Record that a moderator removed a user (``removal``), or Matrix refused the join, and drop their pending joins."""
        await tx.rooms.hold(room)
        await tx.outbox.drop_moves(room, user)
        return await self._go(tx, room, [user], removal)

    async def author(self, tx: CityTransaction, room: RoomId, user: UserId) -> Author | None:
        """A user as the room's members know them, by their id if they are no member; None for the city's own staff."""
        known = await tx.members.some(room, [user])
        return self._author(known[0] if known else Member(room, user))

    async def take_over(
        self, tx: CityTransaction, room: RoomId, members: list[Member], *, moving: Collection[UserId] = ()
    ) -> list[CityEvent]:
        """Exactly these are in the room; ``moving`` are those of whom Matrix was not told all when it was asked."""
        await tx.rooms.hold(room)
        unsure = {*moving, *await tx.outbox.moving(room)}
        before = await tx.members.of_room(room)
        now = {member.user_id for member in members}
        known = set(before)
        come = [member for member in members if member not in known and member.user_id not in unsure]
        gone = [each.user_id for each in before if each.user_id not in now and each.user_id not in unsure]
        return [*await self._come(tx, room, come), *await self._go(tx, room, gone)]

    async def _moving(self, tx: CityTransaction, room: RoomId, users: list[UserId]) -> Mapping[UserId, OutboxKind]:
        ghosts = [user for user in users if self._identities.is_ours(user)]
        return await tx.outbox.moving(room, ghosts) if ghosts else {}

    async def _come(self, tx: CityTransaction, room: RoomId, members: list[Member]) -> list[CityEvent]:
        members = list(map(_shown, members))
        known = {member.user_id: member for member in await tx.members.some(room, [each.user_id for each in members])}
        changed = [member for member in members if known.get(member.user_id) != member]
        await tx.members.put(changed)
        told = [
            MemberChanged(room, author)
            for member in changed
            if member.user_id in known and (author := self._author(member)) is not None
        ]
        new = [member for member in members if member.user_id not in known]
        return [*await self._write(tx, room, RoomEventKind.JOIN, new), *told]

    async def _go(
        self, tx: CityTransaction, room: RoomId, users: list[UserId], removal: Removal | None = None
    ) -> list[CityEvent]:
        gone = await tx.members.some(room, users)
        await tx.members.remove(room, [member.user_id for member in gone])
        if only_invited := set(users) - {member.user_id for member in gone}:
            seqs, _ = await tx.rooms.next_seqs(room, 0)
            await tx.membership_periods.ended(room, only_invited, seqs.stop - 1)
        return await self._write(tx, room, RoomEventKind.LEAVE, gone, removal)

    async def _write(
        self,
        tx: CityTransaction,
        room: RoomId,
        kind: RoomEventKind,
        members: list[Member],
        removal: Removal | None = None,
    ) -> list[CityEvent]:
        who = [(member, author) for member in members if (author := self._author(member)) is not None]
        if not who:
            return []
        at_ms = self._now_ms()
        seqs, visibility = await tx.rooms.next_seqs(room, len(who))
        events = [
            RoomEvent(room, seq, kind, at_ms, who=author, visibility=visibility, removal=removal)
            for seq, (_, author) in zip(seqs, who, strict=True)
        ]
        await tx.room_events.add(events)
        if kind is RoomEventKind.JOIN:
            await tx.membership_periods.joined(
                room, {member.user_id: seq for seq, (member, _) in zip(seqs, who, strict=True)}
            )
        else:
            await tx.membership_periods.ended(room, [member.user_id for member, _ in who], seqs[-1])
        if kind is RoomEventKind.JOIN:
            # Agents live where the registry says; that is no news.
            people = [event for event in events if event.who and event.who.kind is not AuthorKind.AGENT]
            await tx.feed.add([self._feed.joined(event) for event in people])
        # Counted first, and then told with the count.
        changed = [self._changed(member, joined=kind is RoomEventKind.JOIN) for member, _ in who]
        return [*changed, *map(RoomEventStored, events)]

    def _changed(self, member: Member, *, joined: bool) -> MembershipChanged:
        subject = self._identities.subject(member.user_id)
        assert subject is not None
        return MembershipChanged(member.room_id, subject, joined)

    def _author(self, member: Member) -> Author | None:
        """None for the city's own staff, and for ghosts that nobody has."""
        who = self._identities.describe(member.user_id)
        if isinstance(who, ServiceUser) or self._identities.subject(member.user_id) is None:
            return None
        kind, author_id = who
        return Author(kind, author_id, member.display_name or author_id, member.avatar_url)


def _shown(member: Member) -> Member:
    """As the city shows them: whatever a profile holds, on Matrix or in a token, it is told again with each message."""
    name, avatar = member.display_name, member.avatar_url
    return replace(
        member,
        display_name=(one_line(name) or None) if name is not None else None,
        avatar_url=avatar if avatar and is_mxc(avatar) else None,
    )
