"""Encryption accounts of ghosts in the database."""

from __future__ import annotations

from daarion_appservice.storage.database import Transaction
from daarion_appservice.storage.encryption.accounts import StoredAccount
from tests.parts.encryption_rows import EMOJI_DEVICE, GUIDE, SCRIBE, account_row
from tests.parts.encryption_tables import stored_accounts


async def test_new_account_has_no_state(tx: Transaction) -> None:
    row = account_row(device_id=EMOJI_DEVICE)
    await tx.encryption_accounts.save(row)
    assert await tx.encryption_accounts.get(SCRIBE) == StoredAccount(row, None, False, False)
    assert await tx.encryption_accounts.get(GUIDE) is None


async def test_saving_keys_keeps_state_of_account(tx: Transaction) -> None:
    accounts = tx.encryption_accounts
    await accounts.save(account_row())
    await accounts.set_since(SCRIBE, "s1_2")
    await accounts.set_uploaded(SCRIBE, is_uploaded=True)
    assert await accounts.request_reset(SCRIBE)
    moved_on = account_row(device_id="E2E_2", pickle="q")
    await accounts.save(moved_on)
    assert await accounts.get(SCRIBE) == StoredAccount(moved_on, "s1_2", True, True)


async def test_state_of_account_can_be_withdrawn(tx: Transaction) -> None:
    accounts = tx.encryption_accounts
    await accounts.save(account_row())
    await accounts.set_since(SCRIBE, "s1_2")
    await accounts.set_uploaded(SCRIBE, is_uploaded=True)
    await accounts.set_since(SCRIBE, None)
    await accounts.set_uploaded(SCRIBE, is_uploaded=False)
    assert await accounts.get(SCRIBE) == StoredAccount(account_row(), None, False, False)


async def test_reset_without_account_is_refused(tx: Transaction) -> None:
    assert not await tx.encryption_accounts.request_reset(SCRIBE)
    assert await tx.encryption_accounts.ghosts() == []


async def test_state_changes_only_for_named_ghost(tx: Transaction) -> None:
    accounts = tx.encryption_accounts
    for ghost in (SCRIBE, GUIDE):
        await accounts.save(account_row(ghost))
    await accounts.set_since(SCRIBE, "s1")
    await accounts.set_uploaded(SCRIBE, is_uploaded=True)
    await accounts.request_reset(SCRIBE)
    assert await stored_accounts(tx) == [
        StoredAccount(account_row(GUIDE), None, False, False),
        StoredAccount(account_row(SCRIBE), "s1", True, True),
    ]


async def test_deleted_account_leaves_others(tx: Transaction) -> None:
    accounts = tx.encryption_accounts
    for ghost in (SCRIBE, GUIDE):
        await accounts.save(account_row(ghost))
    assert await accounts.ghosts() == [GUIDE, SCRIBE]
    await accounts.delete(SCRIBE)
    assert await accounts.get(SCRIBE) is None
    assert len(await accounts.ghosts()) == 1
