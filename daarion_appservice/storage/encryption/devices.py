"""The devices of other users, and whether they are up to date."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from sqlalchemy import ColumnElement, delete, false, not_, select, true, update

from ...city.types import UserId
from ...encryption.rows import DeviceRow
from ..parameter_lists import parts
from ..repository import Repository
from ..row_mapper import RowMapper
from ..tables import encryption_devices as devices
from ..tables import encryption_tracked_users as tracked
from ..upsert import insert
from .saved_rows import COLUMNS, save_rows

_device: Final = RowMapper(DeviceRow, COLUMNS)


class EncryptionDeviceRepository(Repository):
    """The tables ``encryption_devices`` and ``encryption_tracked_users``."""

    async def of_users(self, users: Collection[UserId]) -> dict[UserId, dict[str, DeviceRow]]:
        """Return the devices of users by user and device id, with an empty dictionary for users without devices."""
        found: dict[UserId, dict[str, DeviceRow]] = {user: {} for user in users}
        for part in parts(users):
            rows = await self._connection.execute(select(devices).where(devices.c.user_id.in_(part)))
            for device in map(_device, rows):
                found[device.user][device.device_id] = device
        return found

    async def owners(self, users: Collection[UserId]) -> dict[str, UserId]:
        """Return the owner of each identity key among these users, without keys that more than one of them claims."""
        claims: dict[str, set[UserId]] = {}
        for part in parts(users):
            rows = await self._connection.execute(
                select(devices.c.curve25519, devices.c.user_id).where(devices.c.user_id.in_(part))
            )
            for curve25519, user in rows:
                claims.setdefault(curve25519, set()).add(UserId(user))
        return {curve25519: next(iter(found)) for curve25519, found in claims.items() if len(found) == 1}

    async def replace(self, user: UserId, new: Iterable[DeviceRow], *, changes: int | None = None) -> None:
        """Replace all devices of a user and mark the user as up to date.

        Args:
            new: All devices that the user has now.
            changes: The number that `changes` returned before ``POST /keys/query``; `add_stale` makes the user tracked
                before. If the devices changed during the request, the user is stale again. None marks the user as up to
                date in any case.
        """
        # Before the devices: the lock on this row keeps two replacements of one user apart.
        is_stale = false() if changes is None else tracked.c.changes != changes
        await self._connection.execute(
            insert(self._connection, tracked)
            .values(user_id=user, is_stale=False)
            .on_conflict_do_update(index_elements=[tracked.c.user_id], set_={"is_stale": is_stale})
        )
        await self._connection.execute(delete(devices).where(devices.c.user_id == user))
        await save_rows(self._connection, devices, map(_device.values, new))

    # --- changes of device lists --------------------------------------------------------------------------

    async def add_stale(self, users: Collection[UserId]) -> None:
        """Mark users as stale, also users that were not tracked."""
        if not users:
            return
        statement = insert(self._connection, tracked)
        await self._connection.execute(
            statement.on_conflict_do_update(
                index_elements=[tracked.c.user_id], set_={"is_stale": True, "changes": tracked.c.changes + 1}
            ),
            [{"user_id": user, "is_stale": True, "changes": 1} for user in sorted(set(users))],
        )

    async def stale(self, users: Collection[UserId]) -> set[UserId]:
        """Return those of the users that are stale or not tracked."""
        stale = set(users)
        for part in parts(users):
            fresh = await self._connection.scalars(
                select(tracked.c.user_id).where(tracked.c.user_id.in_(part), not_(tracked.c.is_stale))
            )
            stale.difference_update(map(UserId, fresh))
        return stale

    async def changes(self, users: Collection[UserId]) -> dict[UserId, int]:
        """Return how often each of the users was marked as stale; 0 for users that are not tracked."""
        found = dict.fromkeys(users, 0)
        for part in parts(users):
            rows = await self._connection.execute(
                select(tracked.c.user_id, tracked.c.changes).where(tracked.c.user_id.in_(part))
            )
            found |= {UserId(row.user_id): row.changes for row in rows}
        return found

    async def mark_stale(self, users: Collection[UserId]) -> None:
        """Mark those of the users as stale that are tracked."""
        for part in parts(sorted(users)):
            await self._mark(tracked.c.user_id.in_(part))

    async def mark_all_stale(self) -> None:
        """Mark all tracked users as stale."""
        await self._mark(true())

    async def _mark(self, which: ColumnElement[bool]) -> None:
        # In the order in which `add_stale` and `replace` lock rows, so that no two transactions wait for each other.
        await self._connection.execute(
            select(tracked.c.user_id).where(which).order_by(tracked.c.user_id).with_for_update()
        )
        await self._connection.execute(
            update(tracked).where(which).values(is_stale=True, changes=tracked.c.changes + 1)
        )
