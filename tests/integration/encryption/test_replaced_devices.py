"""What is left of a device of an agent that was replaced."""

from __future__ import annotations

import pytest

from daarion_appservice.errors import HomeserverUnavailable
from tests.parts.encryption_harness import SCRIBE, EncryptionHarness


async def test_ciphertext_of_a_replaced_device_is_not_sent(harness: EncryptionHarness) -> None:
    """The key of the ciphertext was in a to-device request of the old device, which is dropped with it."""
    harness.homeserver.break_off("to_device")
    with pytest.raises(HomeserverUnavailable):
        await harness.send("question", txn_id="txn")
    async with harness.database.transaction() as tx:
        await tx.encryption_accounts.request_reset(SCRIBE)
    harness.start()

    event = await harness.send("question", txn_id="txn")

    assert harness.read(event) == "question"
