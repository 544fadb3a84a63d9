"""Answers requests of other devices for the keys of a ghost's own Megolm sessions."""

from __future__ import annotations

from typing import Any

from ...city.ports import NowMs
from ...encryption.inbound_sessions import FORWARDED_ROOM_KEY
from ...encryption.key_requests import IncomingRequest, answer_request, is_answer_due, parse_request
from ...encryption.rows import AccountRow, DeviceRow, InboundSessionRow
from ...storage.database import Transaction
from .metrics import EncryptionMetrics, KeyRequest
from .olm_sender import OlmSender
from .support import EncryptionSupport


class KeyAnswers:
    """Stores the answers in the to-device outbox, at most one a minute for each device and session."""

    def __init__(
        self, support: EncryptionSupport, sender: OlmSender, metrics: EncryptionMetrics, now_ms: NowMs
    ) -> None:
        self._support = support
        self._sender = sender
        self._metrics = metrics
        self._now_ms = now_ms

    async def answer(self, tx: Transaction, account: AccountRow, event: dict[str, Any]) -> None:
        """Answer an ``m.room_key_request`` of a device that had got the session.

        A device without a session of this run gets no answer: its client asks again after its next message.

        Raises:
            EncryptionError: the request is malformed, or the device may not have the session.
        """
        request = parse_request(event)
        if not isinstance(request, IncomingRequest):
            return
        self._metrics.count_key_request(KeyRequest.RECEIVED)
        shared = await tx.megolm_sessions.shared_with(request.session_id, request.user, request.device_id)
        session = await tx.megolm_sessions.find_inbound(request.room, request.session_id, account.curve25519)
        device = (await tx.encryption_devices.of_users([request.user])).get(request.user, {}).get(request.device_id)
        if shared is None or session is None or device is None or device.curve25519 != shared.curve25519:
            return
        content = answer_request(request, session, shared, account=account, key=self._support.key)
        await self._send(tx, account, device, session, content)

    async def _send(
        self,
        tx: Transaction,
        account: AccountRow,
        device: DeviceRow,
        session: InboundSessionRow,
        content: dict[str, Any],
    ) -> None:
        asked = (account.ghost, device.user, device.device_id, session.session_id)
        if not is_answer_due(await tx.key_requests.last_answer(*asked), now_ms=self._now_ms()):
            return
        olm = (await self._sender.sessions_with(tx, account.ghost, [device])).get(device.curve25519)
        if olm is None:
            return
        await self._sender.put_encrypted(tx, account, device, olm, event_type=FORWARDED_ROOM_KEY, content=content)
        await tx.key_requests.set_answer(*asked, self._now_ms())
        self._metrics.count_key_request(KeyRequest.ANSWERED)
