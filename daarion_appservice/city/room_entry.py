"""Joining a room from the city's side: as a member at once, and on Matrix by the outbox."""

from __future__ import annotations

from .events import CityEvent
from .ports import CityTransaction, MembershipRecorder
from .types import Member, OutboxKind


async def enter_room(
    tx: CityTransaction, membership_recorder: MembershipRecorder, member: Member, *, txn_id: str
) -> list[CityEvent]:
    """Write down that ``member`` joins, and have the outbox join their ghost on Matrix.

    Returns:
        What to publish once the transaction is committed, before ``OutboxChanged``.
    """
    happened = await membership_recorder.enter(tx, member)
    await tx.outbox.add_move(OutboxKind.JOIN, member.user_id, member.room_id, txn_id=txn_id)
    return happened
