"""Loads all memberships into `OnlineMembers`: at the start, and after city events may have been missed."""

from __future__ import annotations

from ...city.events import MembershipChanged
from ...city.identity import Identities
from ...city.online_members import OnlineMembers
from ...city.ports import Publish
from ...city.types import RoomId, SubjectId
from ...realtime.worker import Worker
from ...storage.database import Database


class MembershipCache:
    """Compares the memberships in memory with the database, and publishes the differences."""

    def __init__(
        self, database: Database, publish_local: Publish, online_members: OnlineMembers, identities: Identities
    ) -> None:
        """Build an empty cache.

        Args:
            publish_local: publishes an event in this process only; the other processes read the database themselves.
        """
        self._database = database
        self._publish_local = publish_local
        self._online_members = online_members
        self._identities = identities
        self._worker = Worker("memberships", idle_s=None)
        self._changed: set[tuple[RoomId, SubjectId]] | None = None
        """Memberships that changed while the database is read: an event on the bus is newer than the read."""

    async def load(self) -> None:
        """Read all memberships, and publish a `MembershipChanged` for each difference."""
        changed = self._changed = set()
        try:
            async with self._database.read_only() as tx:
                members = await tx.members.all()
        finally:
            self._changed = None
        stored = {
            (member.room_id, subject) for member in members if (subject := self._identities.subject(member.user_id))
        }
        known = self._online_members.memberships()
        for room, subject in (stored ^ known) - changed:
            self._publish_local(MembershipChanged(room, subject, joined=(room, subject) in stored))

    async def run(self) -> None:
        """Reload after each `BusEventsLost`, until cancelled."""
        await self._worker.run(self.load, waits_first=True)

    def on_bus_events_lost(self) -> None:
        """Make ``run`` reload all memberships, because events from other processes may have been lost."""
        self._worker.wake()

    def on_membership_changed(self, change: MembershipChanged) -> None:
        """Record a change that is newer than a read that is running."""
        if self._changed is not None:
            self._changed.add((change.room_id, change.subject))
