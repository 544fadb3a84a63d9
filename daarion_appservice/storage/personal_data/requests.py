"""Requests for erasures, by the API or the command line; the leader carries them out."""

from __future__ import annotations

from ...city.data_subjects import DataSubject
from ...city.ports import NewId, NowMs
from ..database import Database
from .erasures import ErasureState, StoredErasure


async def request_erasure(database: Database, data_subject: DataSubject, new_id: NewId, now_ms: NowMs) -> StoredErasure:
    """Store the erasure of a data subject; a data subject who is being erased gets no second one.

    From the commit on, every process refuses the data subject's tokens within two seconds.

    Args:
        data_subject: Whose data is to be erased, with both subjects if linked.
        new_id: Returns the id of the erasure.
        now_ms: Returns the time in milliseconds since 1970.

    Returns:
        The new erasure, or the one that is not done.
    """
    async with database.transaction() as tx:
        await tx.accounts.lock()
        for subject in data_subject.subjects:
            running = await tx.erasures.latest_of(subject)
            if running is not None and running.state is not ErasureState.DONE:
                return running
        erasure = new_id()
        await tx.erasures.add(erasure, data_subject, now_ms=now_ms())
        stored = await tx.erasures.get(erasure)
    assert stored is not None
    return stored


async def find_erasure(database: Database, data_subject: DataSubject) -> StoredErasure | None:
    """Return the newest erasure of a data subject; None if there was none."""
    async with database.read_only() as tx:
        found = [await tx.erasures.latest_of(subject) for subject in data_subject.subjects]
    return max((erasure for erasure in found if erasure is not None), key=lambda each: each.id, default=None)
