"""Deletion of all secret keys of encryption, after the pickle key was lost or replaced."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Table, delete
from sqlalchemy.ext.asyncio import AsyncConnection

from ..tables import (
    encryption_accounts,
    encryption_entries,
    encryption_inbound_sessions,
    encryption_key_requests,
    encryption_olm_recoveries,
    encryption_olm_sessions,
    encryption_outbound_sessions,
    encryption_shared_keys,
    encryption_to_device_outbox,
)

_TABLES: Final[tuple[Table, ...]] = (
    encryption_accounts,
    encryption_olm_sessions,
    encryption_olm_recoveries,
    encryption_inbound_sessions,
    encryption_outbound_sessions,
    encryption_shared_keys,
    encryption_key_requests,
    encryption_to_device_outbox,
    encryption_entries,
)
"""The pickles, and what was made with them and not sent. The public keys of people, the indexes of processed events and the
events that wait for a key stay: the indexes refuse repeated ciphertexts if a session comes again.
"""


async def discard_keys(connection: AsyncConnection) -> int:
    """Delete all accounts, sessions and ciphertexts of ghosts.

    Returns:
        How many ghosts had an account.
    """
    deleted = [(await connection.execute(delete(table))).rowcount for table in _TABLES]
    return deleted[0]
