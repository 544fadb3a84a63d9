"""Receives to-device events of ghosts by one ``/sync`` each (a pull): room keys, key requests and withheld codes.

The effects of a response and its ``next_batch`` are stored in one transaction; the homeserver deletes the events only when
the next request names that token. What the effects ask for (answers, new one-time keys, recoveries) follows the commit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from ...city.event_fields import ENCRYPTED
from ...city.ports import NowMs
from ...city.types import UserId
from ...encryption.accounts import mark_published, top_up
from ...encryption.errors import EncryptionError, Undecryptable, UnknownSession
from ...encryption.inbound_sessions import FORWARDED_ROOM_KEY, ROOM_KEY, from_forwarded_key, from_room_key, merge
from ...encryption.key_bundles import KEY_BUNDLE_TYPES, BundleReference, parse_bundle_event
from ...encryption.olm_events import OlmDecrypted, OlmEvent, OlmReference, decrypt_olm_event, parse_olm_event
from ...encryption.olm_sessions import DUMMY
from ...encryption.rows import AccountRow, InboundSessionRow
from ...encryption.withheld import WITHHELD, WithheldCode, parse_withheld
from ...errors import HomeserverRefused
from ...storage.database import Database, Transaction
from ..client.homeserver import Homeserver
from ..client.refusals import is_key_clash
from . import verification
from .device_lists import DeviceLists
from .ghost_devices import GhostDevices
from .key_answers import KeyAnswers
from .metrics import EncryptionMetrics, KeyRequest, Pull
from .olm_sender import OlmSender
from .rotation_limit import RotationLimit
from .support import EncryptionSupport

_FULL_PAGE: Final = 100
"""The number of to-device events in a full response: more may wait on the homeserver."""
_MAX_PAGES: Final = 50
_MAX_RECOVERIES: Final = 10
"""Devices that one pull starts new sessions with."""
_MAX_DECLINES: Final = 10
"""Verification requests that are declined of one response; clients give the others up by themselves."""
_WITHHELD_TYPES: Final = frozenset({WITHHELD, "org.matrix.room_key.withheld"})

log = structlog.get_logger()


@dataclass(slots=True)
class _Received:
    """What the events of one response lead to after the commit."""

    account: AccountRow
    bundles: list[BundleReference] = field(default_factory=list)
    broken: dict[str, UserId] = field(default_factory=dict)
    """The identity keys of devices whose messages could not be decrypted, with their users."""
    upload: dict[str, Any] = field(default_factory=dict)
    has_new_sessions: bool = False
    declines: int = 0
    """The verification requests that were declined."""


class ToDeviceReader:
    """Pulls the to-device events of a ghost. The caller holds the lock of the ghost."""

    def __init__(
        self,
        homeserver: Homeserver,
        database: Database,
        support: EncryptionSupport,
        devices: GhostDevices,
        device_lists: DeviceLists,
        sender: OlmSender,
        answers: KeyAnswers,
        metrics: EncryptionMetrics,
        now_ms: NowMs,
        *,
        on_new_sessions: Callable[[], None],
        on_bundle: Callable[[UserId, BundleReference], None],
    ) -> None:
        """``on_new_sessions`` is called when waiting events may be decrypted, ``on_bundle`` for each shared key bundle."""
        self._homeserver = homeserver
        self._database = database
        self._support = support
        self._devices = devices
        self._device_lists = device_lists
        self._sender = sender
        self._answers = answers
        self._metrics = metrics
        self._now_ms = now_ms
        self._on_new_sessions = on_new_sessions
        self._on_bundle = on_bundle
        self._rotation_limit = RotationLimit()
        self._failures: dict[UserId, int] = {}
        """The pulls of a ghost whose response was lost, or not stored, since the last that was."""

    async def pull(self, ghost: UserId) -> AccountRow | None:
        """Receive all waiting to-device events of a ghost.

        Returns:
            The account of the ghost; None if it has none, because encryption is off.

        Raises:
            HomeserverUnavailable: the homeserver did not respond.
            HomeserverRefused: the homeserver refused.
        """
        await self._devices.ensure_locked(ghost)
        if not self._support.is_active:
            return None
        for _ in range(_MAX_PAGES):
            count = await self._pull_page(ghost)
            if count < _FULL_PAGE:
                break
        async with self._database.read_only() as tx:
            stored = await tx.encryption_accounts.get(ghost)
        return stored.account if stored is not None else None

    async def _pull_page(self, ghost: UserId) -> int:
        async with self._database.read_only() as tx:
            stored = await tx.encryption_accounts.get(ghost)
        if stored is None:
            return 0
        # A repeated request gets the response that was lost, which misses what came in between: its timeout differs.
        timeout_ms = self._failures.get(ghost, 0)
        self._failures[ghost] = timeout_ms + 1
        try:
            response = await self._homeserver.sync_to_device(
                ghost, stored.account.device_id, since=stored.since, timeout_ms=timeout_ms
            )
        except BaseException:
            self._metrics.count_pull(Pull.FAILED)
            raise
        page = _page(response)
        self._metrics.count_pull(Pull.EVENTS if page else Pull.EMPTY)
        received = await self._store(stored.account, _events(page), response)
        self._failures.pop(ghost, None)
        await self._follow_up(received)
        return len(page)

    # --- effects in one transaction -------------------------------------------------------------------

    async def _store(self, account: AccountRow, events: list[dict[str, Any]], response: dict[str, Any]) -> _Received:
        received = _Received(account)
        async with self._database.transaction() as tx:
            for event in events:
                try:
                    await self._handle(tx, received, event)
                except EncryptionError as error:
                    log.info(
                        "to_device_event_refused",
                        ghost=account.ghost,
                        sender=str(event.get("sender"))[:255],
                        type=str(event.get("type"))[:255],
                        error=str(error),
                    )
            self._top_up(received, response)
            if received.account != account:
                await tx.encryption_accounts.save(received.account)
            await tx.encryption_accounts.set_since(account.ghost, response["next_batch"])
            await self._device_lists.mark_changed(tx, _changed_users(response))
        return received

    def _top_up(self, received: _Received, response: dict[str, Any]) -> None:
        counts = response.get("device_one_time_keys_count")
        upload = top_up(
            received.account,
            self._support.key,
            counts=counts if isinstance(counts, dict) else {},
            unused_fallback_types=response.get("device_unused_fallback_key_types"),
        )
        received.account, received.upload = upload.account, upload.body

    async def _handle(self, tx: Transaction, received: _Received, event: dict[str, Any]) -> None:
        event_type = event.get("type")
        if event_type == ENCRYPTED:
            await self._encrypted(tx, received, event)
        elif event_type in _WITHHELD_TYPES:
            await self._withheld(tx, received, event)
        elif event_type == "m.room_key_request":
            await self._answers.answer(tx, received.account, event)
        elif event_type == verification.REQUEST:
            await self._decline_verification(tx, received, event)

    async def _encrypted(self, tx: Transaction, received: _Received, event: dict[str, Any]) -> None:
        account = received.account
        reference = parse_olm_event(event, account=account)
        decrypted = await self._decrypt(tx, received, reference)
        received.account = decrypted.account or account
        await tx.olm_sessions.save([decrypted.session])
        await tx.olm_sessions.delete(decrypted.superfluous)
        olm_event = decrypted.event
        if olm_event.type == ROOM_KEY:
            row = from_room_key(olm_event, ghost=account.ghost, key=self._support.key)
            await self._merge(tx, received, row)
        elif olm_event.type == FORWARDED_ROOM_KEY:
            await self._forwarded(tx, received, olm_event)
        elif olm_event.type == DUMMY:
            if not self._rotation_limit.allows(account.ghost, olm_event.sender, self._now_ms()):
                raise EncryptionError("the devices of this user caused too many new sessions in the last hour")
            # The device could not decrypt what it got last, perhaps a key: new sessions replace those that it was sent.
            await tx.megolm_sessions.delete_outbound_shared_with(account.ghost, olm_event.curve25519)
        elif olm_event.type in KEY_BUNDLE_TYPES:
            received.bundles.append(parse_bundle_event(olm_event))

    async def _decrypt(self, tx: Transaction, received: _Received, reference: OlmReference) -> OlmDecrypted:
        account = received.account
        sessions = await tx.olm_sessions.with_device(account.ghost, reference.curve25519)
        try:
            return decrypt_olm_event(
                reference, account=account, sessions=sessions, key=self._support.key, now_ms=self._now_ms()
            )
        except (UnknownSession, Undecryptable):
            received.broken.setdefault(reference.curve25519, reference.sender)
            raise

    async def _forwarded(self, tx: Transaction, received: _Received, event: OlmEvent) -> None:
        ghost = received.account.ghost
        row = from_forwarded_key(event, await tx.key_requests.open(ghost), ghost=ghost, key=self._support.key)
        await self._merge(tx, received, row)
        self._metrics.count_key_request(KeyRequest.FULFILLED)

    async def _merge(self, tx: Transaction, received: _Received, row: InboundSessionRow) -> None:
        known = await tx.megolm_sessions.find_inbound(row.room, row.session_id, row.curve25519)
        kept = merge(known, row, self._support.key)
        if kept is None:
            return
        await tx.megolm_sessions.save_inbound([kept])
        for request in await tx.key_requests.of_session(row.room, row.session_id):
            if request.user == row.owner:
                await tx.key_requests.delete(request)
        await tx.undecrypted.wake_session(row.room, row.session_id, self._now_ms())
        received.has_new_sessions = True

    async def _withheld(self, tx: Transaction, received: _Received, event: dict[str, Any]) -> None:
        row = parse_withheld(event)
        await tx.withheld_keys.save(row)
        if row.code == WithheldCode.NO_OLM:
            # The other device could start no session with this one: this one starts it.
            received.broken.setdefault(row.curve25519, row.user)

    async def _decline_verification(self, tx: Transaction, received: _Received, event: dict[str, Any]) -> None:
        content = event.get("content")
        txn, device = (
            (content.get("transaction_id"), content.get("from_device")) if isinstance(content, dict) else (0, 0)
        )
        user = event.get("sender")
        if received.declines >= _MAX_DECLINES:
            return
        if not (isinstance(txn, str) and isinstance(device, str) and isinstance(user, str)):
            return
        received.declines += 1
        cancel = verification.REFUSAL | {"transaction_id": txn[:255]}
        await self._sender.put(tx, received.account.ghost, verification.CANCEL, {user: {device: cancel}})

    # --- after the commit -----------------------------------------------------------------------------

    async def _follow_up(self, received: _Received) -> None:
        if received.has_new_sessions:
            self._on_new_sessions()
        for bundle in received.bundles:
            self._on_bundle(received.account.ghost, bundle)
        if received.upload and not await self._upload(received):
            return
        for curve25519, user in list(received.broken.items())[:_MAX_RECOVERIES]:
            await self._recover(received.account, user, curve25519)
        await self._sender.flush(received.account)

    async def _upload(self, received: _Received) -> bool:
        """Upload new keys; return False if the device was lost, with all sessions of its account."""
        account = received.account
        try:
            await self._homeserver.upload_keys(account.ghost, account.device_id, received.upload)
        except HomeserverRefused as error:
            if not is_key_clash(error):
                raise
            log.warning(
                "encryption_devices_lost", ghost=account.ghost, error=str(error), help="the ghost gets a new device"
            )
            await self._devices.replace_lost_locked(account.ghost)
            return False
        async with self._database.transaction() as tx:
            await tx.encryption_accounts.save(mark_published(account, self._support.key))
        return True

    async def _recover(self, account: AccountRow, user: UserId, curve25519: str) -> None:
        devices = await self._device_lists.of([user], as_ghost=account.ghost)
        device = next((each for each in devices if each.curve25519 == curve25519), None)
        if device is not None:
            await self._sender.recover(account, device)


def _page(response: dict[str, Any]) -> list[Any]:
    to_device = response.get("to_device")
    events = to_device.get("events") if isinstance(to_device, dict) else None
    return events if isinstance(events, list) else []


def _events(page: list[Any]) -> list[dict[str, Any]]:
    return [event for event in page if isinstance(event, dict) and isinstance(event.get("type"), str)]


def _changed_users(response: dict[str, Any]) -> list[UserId]:
    lists = response.get("device_lists")
    changed = lists.get("changed") if isinstance(lists, dict) else None
    return [UserId(user) for user in changed if isinstance(user, str)] if isinstance(changed, list) else []
