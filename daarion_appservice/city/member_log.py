"""Member log: records joins, leaves and profile changes as members and as events of the room's history.

The first source of a change records it (a citizen joins in the city, the outbox joins a ghost, a transaction delivers
an event, the reconciler reads the member list); later sources find it recorded, so the history has it once. A join or
leave of a ghost that waits in the outbox has precedence over what Matrix reports meanwhile, unless a moderator removes
the ghost.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from .events import AccountsChanged, CityEvent, MemberChanged, MembershipChanged, RoomEventStored
from .feed import FeedWriter
from .history_visibility import is_readable_by_all
from .identity import Identities, ServiceUser
from .media import is_mxc
from .ports import CityTransaction, NewId, NowMs
from .room_events import Removal, RoomEvent, RoomEventKind
from .text_sanitizing import one_line
from .types import Author, AuthorKind, CitizenId, Member, OutboxKind, RoomId, UserId, author_key


class MemberLog:
    """Records memberships inside the caller's transaction. Methods return the events to publish after the commit."""

    def __init__(self, identities: Identities, now_ms: NowMs, new_id: NewId) -> None:
        self._identities = identities
        self._now_ms = now_ms
        self._feed = FeedWriter(new_id)

    # --- changes made in the city -----------------------------------------------------------------------------

    def member(self, room: RoomId, who: Author) -> Member:
        """Return a citizen or agent as a member of a room."""
        return Member(room, self._identities.author(who), who.display_name, who.avatar_url)

    async def join_from_city(self, tx: CityTransaction, member: Member) -> list[CityEvent]:
        """Record a join made in the city. It holds against reports from Matrix until the outbox has sent it."""
        await tx.rooms.lock(member.room_id)
        return await self._record_joins(tx, member.room_id, [member])

    async def leave_from_city(self, tx: CityTransaction, member: Member) -> list[CityEvent]:
        """Record a leave made in the city. It holds against reports from Matrix until the outbox has sent it."""
        await tx.rooms.lock(member.room_id)
        return await self._record_leaves(tx, member.room_id, [member.user_id])

    # --- changes reported by Matrix ---------------------------------------------------------------------------

    async def join(self, tx: CityTransaction, room: RoomId, members: list[Member]) -> list[CityEvent]:
        """Record that Matrix users joined a room, or changed their display name or avatar there."""
        await tx.rooms.lock(room)
        moving = await self._pending_moves(tx, room, [member.user_id for member in members])
        return await self._record_joins(
            tx, room, [member for member in members if moving.get(member.user_id) is not OutboxKind.LEAVE]
        )

    async def leave(self, tx: CityTransaction, room: RoomId, users: list[UserId]) -> list[CityEvent]:
        """Record that users left a room."""
        await tx.rooms.lock(room)
        moving = await self._pending_moves(tx, room, users)
        return await self._record_leaves(tx, room, [user for user in users if moving.get(user) is not OutboxKind.JOIN])

    async def record_invitation(self, tx: CityTransaction, room: RoomId, user: UserId) -> list[CityEvent]:
        """Record an invitation, which ends the user's previous membership."""
        events = await self.leave(tx, room, [user])
        seqs, _ = await tx.rooms.next_seqs(room, 0)
        await tx.membership_periods.record_invitation(room, user, seqs.stop)
        return events

    async def record_removal(
        self, tx: CityTransaction, room: RoomId, user: UserId, removal: Removal | None = None
    ) -> list[CityEvent]:
        """Record that a moderator removed a user (``removal``), or Matrix refused the join, and drop the pending joins."""
        await tx.rooms.lock(room)
        await tx.outbox.delete_moves(room, user)
        return await self._record_leaves(tx, room, [user], removal)

    async def author(self, tx: CityTransaction, room: RoomId, user: UserId) -> Author | None:
        """Return the author that a user is in a room, named by id for a non-member; None for a service user."""
        known = await tx.members.some(room, [user])
        return self._author(known[0] if known else Member(room, user))

    async def replace_members(
        self,
        tx: CityTransaction,
        room: RoomId,
        members: list[Member],
        *,
        before: Collection[Member] | None = None,
        moving: Collection[UserId] = (),
    ) -> list[CityEvent]:
        """Replace the room's members with a list from Matrix.

        Args:
            tx: The caller's transaction.
            members: All joined members on Matrix.
            before: The stored members when the list was requested: an event that changed one since may be newer than the
                list, so what it stored stays. None if no event can have come in between.
            moving: Users whose joins or leaves were pending when the list was requested; their membership does not
                change.
        """
        await tx.rooms.lock(room)
        stored = await tx.members.of_room(room)
        known, now = set(stored), {member.user_id for member in members}
        changed = {member.user_id for member in known.symmetric_difference(known if before is None else before)}
        kept = {*changed, *moving, *await tx.outbox.pending_moves(room)}
        joined = [member for member in members if member not in known and member.user_id not in kept]
        left = [each.user_id for each in stored if each.user_id not in now and each.user_id not in kept]
        return [*await self._record_joins(tx, room, joined), *await self._record_leaves(tx, room, left)]

    async def _pending_moves(
        self, tx: CityTransaction, room: RoomId, users: list[UserId]
    ) -> Mapping[UserId, OutboxKind]:
        ghosts = [user for user in users if self._identities.is_ours(user)]
        return await tx.outbox.pending_moves(room, ghosts) if ghosts else {}

    async def _record_joins(self, tx: CityTransaction, room: RoomId, members: list[Member]) -> list[CityEvent]:
        # The ghost of an erased person leaves soon; a Matrix user who is being erased is removed.
        members = [member for member in members if not self._identities.erased.is_closed(member.user_id)]
        members = await self._with_registered_names(tx, list(map(_limit_profile, members)))
        known = {member.user_id: member for member in await tx.members.some(room, [each.user_id for each in members])}
        changed = [member for member in members if known.get(member.user_id) != member]
        await tx.members.put(changed)
        profile_changes: list[CityEvent] = [
            MemberChanged(room, author)
            for member in changed
            if member.user_id in known and (author := self._author(member)) is not None
        ]
        profile_changes += await self._update_account_profiles(tx, room, changed)
        new = [member for member in members if member.user_id not in known]
        return [*await self._write(tx, room, RoomEventKind.JOIN, new), *profile_changes]

    async def _update_account_profiles(
        self, tx: CityTransaction, room_id: RoomId, members: list[Member]
    ) -> list[CityEvent]:
        """Store the profiles of Matrix users who are linked with citizens, which the city shows in all rooms.

        A user may have another name and avatar in each room; those of a room that not everyone may read stay there.
        """
        linked = [member for member in members if self._identities.accounts.of_user(member.user_id) is not None]
        room = await tx.rooms.find(room_id) if linked else None
        if room is None or not is_readable_by_all(room):
            return []
        changes = [await tx.accounts.set_profile(each.user_id, each.display_name, each.avatar_url) for each in linked]
        return [AccountsChanged()] if any(changes) else []

    async def _with_registered_names(self, tx: CityTransaction, members: list[Member]) -> list[Member]:
        """Return the members, agents with the name of the registry and without an avatar that the service drew.

        Names and avatars of their ghosts on Matrix are derived: see ``matrix/ghosts/agent_profiles.py``.
        """
        slugs = {
            member.user_id: slug
            for member in members
            if (slug := self._identities.agent_slug(member.user_id)) is not None
        }
        if not slugs:
            return members
        names = await tx.agents.display_names(set(slugs.values()))
        drawn = await tx.drawn_avatars.among({member.avatar_url for member in members if member.avatar_url})
        return [
            replace(
                member,
                display_name=names.get(slugs[member.user_id], member.display_name),
                avatar_url=None if member.avatar_url in drawn else member.avatar_url,
            )
            if member.user_id in slugs
            else member
            for member in members
        ]

    async def _record_leaves(
        self, tx: CityTransaction, room: RoomId, users: list[UserId], removal: Removal | None = None
    ) -> list[CityEvent]:
        left = await tx.members.some(room, users)
        await tx.members.remove(room, [member.user_id for member in left])
        await self._forget_unread(tx, room, left)
        if only_invited := set(users) - {member.user_id for member in left}:
            seqs, _ = await tx.rooms.next_seqs(room, 0)
            await tx.membership_periods.end_periods(room, only_invited, seqs.stop - 1)
        return await self._write(tx, room, RoomEventKind.LEAVE, left, removal)

    async def _forget_unread(self, tx: CityTransaction, room: RoomId, left: list[Member]) -> None:
        """Forget what citizens who left have not read, except those who are still members by their linked account."""
        subjects = [subject for member in left if (subject := self._identities.subject(member.user_id)) is not None]
        for subject in subjects:
            same = self._identities.accounts.subjects_of(subject)
            citizens = [CitizenId(each) for each in same if author_key(each)[0] is AuthorKind.CITIZEN]
            if citizens and not await tx.members.some(room, [self._identities.user(each) for each in same]):
                await tx.read_marks.forget(room, citizens)
                await tx.mentions.forget(room, same)

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
            await tx.membership_periods.record_joins(
                room, {member.user_id: seq for seq, (member, _) in zip(seqs, who, strict=True)}
            )
        else:
            await tx.membership_periods.end_periods(room, [member.user_id for member, _ in who], seqs[-1])
        if kind is RoomEventKind.JOIN:
            # The registry defines where agents are members: their joins are not in the feed.
            is_direct = await tx.citizen_chats.of_room(room) is not None
            people = [
                event for event in events if event.who and event.who.kind is not AuthorKind.AGENT and not is_direct
            ]
            again = await self._persons_before(tx, room, people)
            await tx.feed.add([self._feed.joined(event) for event in people if event.seq not in again])
        # Memberships are published before the events, so that the member counts include the change.
        changed = [self._changed(member, joined=kind is RoomEventKind.JOIN) for member, _ in who]
        return [*changed, *map(RoomEventStored, events)]

    async def _persons_before(self, tx: CityTransaction, room: RoomId, joins: list[RoomEvent]) -> set[int]:
        """Return the numbers of joins of linked persons who are members by their other user already."""
        accounts, found = self._identities.accounts, set()
        for event in joins:
            assert event.who is not None
            person = accounts.canonical_subject(event.who.subject)
            others = [self._identities.user(each) for each in accounts.subjects_of(person) if each != event.who.subject]
            if others and await tx.members.some(room, others):
                found.add(event.seq)
        return found

    def _changed(self, member: Member, *, joined: bool) -> MembershipChanged:
        subject = self._identities.subject(member.user_id)
        assert subject is not None
        return MembershipChanged(member.room_id, subject, joined)

    def _author(self, member: Member) -> Author | None:
        """Return the member as author; None for a service user and for a ghost without a subject."""
        who = self._identities.describe(member.user_id)
        if isinstance(who, ServiceUser) or self._identities.subject(member.user_id) is None:
            return None
        kind, author_id = who
        return Author(kind, author_id, member.display_name or author_id, member.avatar_url)


def _limit_profile(member: Member) -> Member:
    """Limit a profile from Matrix or a token to what the city shows: clients receive it with each message."""
    name, avatar = member.display_name, member.avatar_url
    return replace(
        member,
        display_name=(one_line(name) or None) if name is not None else None,
        avatar_url=avatar if avatar and is_mxc(avatar) else None,
    )
