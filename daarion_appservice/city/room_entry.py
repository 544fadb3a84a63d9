"""Joins made in the city: members immediately, on Matrix by the outbox."""

from __future__ import annotations

from .events import CityEvent
from .member_log import MemberLog
from .ports import CityTransaction
from .types import Member, OutboxKind


async def enter_room(tx: CityTransaction, member_log: MemberLog, member: Member, *, txn_id: str) -> list[CityEvent]:
    """Record the join of ``member``, and have the outbox join the ghost on Matrix.

    Returns:
        The events to publish after the commit, before ``OutboxChanged``.
    """
    events = await member_log.join_from_city(tx, member)
    await tx.outbox.add_move(OutboxKind.JOIN, member.user_id, member.room_id, txn_id=txn_id)
    return events
