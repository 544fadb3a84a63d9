"""Web Push subscriptions of citizens."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, delete, func, select, update

from ..city.push_subscriptions import MAX_FAILURES, MAX_SUBSCRIPTIONS, PushSubscription
from ..city.types import CitizenId
from .parameter_lists import parts
from .repository import Repository
from .tables import push_subscriptions as table
from .upsert import insert


@dataclass(frozen=True, slots=True)
class PushTotals:
    """The numbers of subscriptions of all citizens."""

    subscriptions: int
    failing: int
    """Subscriptions whose last push failed."""


class PushSubscriptionRepository(Repository):
    """The table ``push_subscriptions``."""

    async def put(self, subscription: PushSubscription) -> None:
        """Store a subscription in place of that with the same endpoint, and delete the citizen's oldest ones above the limit."""
        values = {
            "citizen_id": subscription.citizen,
            "endpoint": subscription.endpoint,
            "p256dh": subscription.p256dh,
            "auth": subscription.auth,
            "language": subscription.language,
            "updated_at_ms": subscription.updated_at_ms,
            "failures": 0,
        }
        digest = _digest(subscription.endpoint)
        statement = insert(self._connection, table).values(endpoint_sha256=digest, **values)
        await self._connection.execute(
            statement.on_conflict_do_update(index_elements=[table.c.endpoint_sha256], set_=values)
        )
        newest = (
            select(table.c.endpoint_sha256)
            .where(table.c.citizen_id == subscription.citizen)
            .order_by(table.c.updated_at_ms.desc(), (table.c.endpoint_sha256 == digest).desc())
            .limit(MAX_SUBSCRIPTIONS)
        )
        kept = list((await self._connection.execute(newest)).scalars())
        await self._connection.execute(
            delete(table).where(table.c.citizen_id == subscription.citizen, table.c.endpoint_sha256.not_in(kept))
        )

    async def remove(self, citizen: CitizenId, endpoint: str) -> None:
        """Delete a subscription of a citizen; one of another citizen stays."""
        await self._connection.execute(
            delete(table).where(table.c.endpoint_sha256 == _digest(endpoint), table.c.citizen_id == citizen)
        )

    async def of(self, citizens: Collection[CitizenId]) -> list[PushSubscription]:
        """Return the subscriptions of these citizens."""
        found: list[PushSubscription] = []
        for part in parts(list(citizens)):
            statement = select(table).where(table.c.citizen_id.in_(part)).order_by(table.c.endpoint_sha256)
            found += map(_subscription_of, await self._connection.execute(statement))
        return found

    async def citizens(self) -> set[CitizenId]:
        """Return the citizens who have a subscription."""
        found = await self._connection.execute(select(table.c.citizen_id).distinct())
        return {CitizenId(citizen) for citizen in found.scalars()}

    async def record_success(self, endpoint: str) -> None:
        """Store that a push was accepted."""
        mine = table.c.endpoint_sha256 == _digest(endpoint)
        await self._connection.execute(update(table).where(mine, table.c.failures > 0).values(failures=0))

    async def record_failure(self, endpoint: str, *, is_gone: bool) -> bool:
        """Count a failed push, and return whether the subscription was deleted.

        Args:
            endpoint: The URL of the subscription.
            is_gone: Whether the push service has no such subscription any more.
        """
        mine = table.c.endpoint_sha256 == _digest(endpoint)
        await self._connection.execute(update(table).where(mine).values(failures=table.c.failures + 1))
        is_over = mine if is_gone else mine & (table.c.failures >= MAX_FAILURES)
        return bool((await self._connection.execute(delete(table).where(is_over))).rowcount)

    async def totals(self) -> PushTotals:
        """Return the numbers of subscriptions."""
        failing = func.count().filter(table.c.failures > 0)
        found = await self._connection.execute(select(func.count(), failing).select_from(table))
        return PushTotals(*found.one())


def _digest(endpoint: str) -> str:
    return hashlib.sha256(endpoint.encode("utf-8", "surrogatepass")).hexdigest()


def _subscription_of(row: Row[Any]) -> PushSubscription:
    citizen = CitizenId(row.citizen_id)
    return PushSubscription(citizen, row.endpoint, row.p256dh, row.auth, row.language, row.updated_at_ms, row.failures)
