"""Joins made in the city: members immediately, on Matrix by the outbox."""

from __future__ import annotations

from .events import CityEvent
from .ports import CityTransaction, MembershipRecorder
from .types import Member, OutboxKind


async def enter_room(
    tx: CityTransaction, membership_recorder: MembershipRecorder, member: Member, *, txn_id: str
) -> list[CityEvent]:
    """Record the join of ``member``, and have the outbox join the ghost on Matrix.

    Returns:
        The events to publish after the commit, before ``OutboxChanged``.
    """
    happened = await membership_recorder.enter(tx, member)
    await tx.outbox.add_move(OutboxKind.JOIN, member.user_id, member.room_id, txn_id=txn_id)
    return happened
