"""A homeserver's key store and encrypting users in memory, for tests of `daarion_appservice.encryption`.

`Peer` is what a caller of the engine is in small: it reads rows, calls a function, and stores the rows that come back.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from daarion_appservice.city.types import EventId, MatrixRoomId, UserId
from daarion_appservice.encryption import (
    accounts,
    cross_signing,
    devices,
    inbound_sessions,
    key_requests,
    key_sharing,
    megolm_events,
    olm_events,
    olm_sessions,
    outbound_sessions,
    withheld,
)
from daarion_appservice.encryption.errors import EncryptionError, Undecryptable, UnknownSession
from daarion_appservice.encryption.primitives import PickleKey
from daarion_appservice.encryption.rows import (
    AccountRow,
    DeviceRow,
    InboundSessionRow,
    IndexRow,
    KeyRequestRow,
    OlmSessionRow,
    OutboundSessionRow,
    SharedRow,
    WithheldRow,
)

KEY = PickleKey(b"0123456789abcdef0123456789abcdef")
ROOM = MatrixRoomId("!room:example.org")


@dataclass
class KeyServer:
    """The keys and to-device queues of a homeserver."""

    device_keys: dict[str, dict[str, Any]] = field(default_factory=dict)
    master_keys: dict[str, Any] = field(default_factory=dict)
    self_signing_keys: dict[str, Any] = field(default_factory=dict)
    one_time_keys: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    fallback_keys: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    queues: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)

    def upload(self, user: str, device_id: str, body: dict[str, Any]) -> None:
        self.one_time_keys.setdefault((user, device_id), {}).update(body.get("one_time_keys", {}))
        self.fallback_keys.setdefault((user, device_id), {}).update(body.get("fallback_keys", {}))

    def query(self) -> dict[str, Any]:
        return copy.deepcopy(
            {
                "device_keys": self.device_keys,
                "master_keys": self.master_keys,
                "self_signing_keys": self.self_signing_keys,
            }
        )

    def claim(self, request: dict[str, Any]) -> dict[str, Any]:
        claimed: dict[str, Any] = {}
        for user, wanted in request["one_time_keys"].items():
            for device_id in wanted:
                keys = self.one_time_keys.get((user, device_id), {})
                if keys:
                    key_id = next(iter(keys))
                    claimed.setdefault(user, {})[device_id] = {key_id: keys.pop(key_id)}
                elif fallback := self.fallback_keys.get((user, device_id)):
                    key_id = list(fallback)[-1]
                    claimed.setdefault(user, {})[device_id] = {key_id: fallback[key_id]}
        return {"one_time_keys": claimed}

    def send(self, sender: str, event_type: str, messages: dict[str, dict[str, Any]]) -> None:
        for user, by_device in messages.items():
            for device_id, content in by_device.items():
                event = {"type": event_type, "sender": sender, "content": content}
                self.queues.setdefault((user, device_id), []).append(copy.deepcopy(event))


@dataclass
class Store:
    """The rows of one user."""

    account: AccountRow
    devices: dict[str, dict[str, DeviceRow]] = field(default_factory=dict)
    olm: dict[tuple[str, str], OlmSessionRow] = field(default_factory=dict)
    inbound: dict[tuple[str, str, str], InboundSessionRow] = field(default_factory=dict)
    outbound: OutboundSessionRow | None = None
    shared: dict[tuple[str, str, str], SharedRow] = field(default_factory=dict)
    index: dict[tuple[str, str, int], IndexRow] = field(default_factory=dict)
    requests: dict[str, KeyRequestRow] = field(default_factory=dict)
    withheld: list[WithheldRow] = field(default_factory=list)
    recovered_at_ms: dict[str, int] = field(default_factory=dict)


class Member(Protocol):
    """A user of the room."""

    @property
    def user(self) -> UserId: ...


class Peer:
    """One user with one device."""

    def __init__(self, server: KeyServer, user: str, device_id: str = "DEVICE", *, cross_signed: bool = True) -> None:
        self.server = server
        self.user: UserId = UserId(user)
        self.store = Store(accounts.create_account(self.user, device_id, KEY))
        self.now_ms = 1_000_000
        self.started_at_ms = 0
        self.policy = outbound_sessions.RotationPolicy()
        self.only_cross_signed = False
        self._ids = 0
        self.server.device_keys.setdefault(user, {})[device_id] = accounts.device_keys(self.account, KEY)
        if cross_signed:
            upload = cross_signing.signing_keys_upload(self.account, KEY)
            self.server.master_keys[user] = upload["master_key"]
            self.server.self_signing_keys[user] = upload["self_signing_key"]
        self.top_up({}, [])

    @property
    def account(self) -> AccountRow:
        return self.store.account

    @property
    def address(self) -> tuple[str, str]:
        return self.user, self.account.device_id

    def next_id(self) -> str:
        self._ids += 1
        return f"${self.user}.{self._ids}"

    def restart(self) -> None:
        """Keep only the rows, as after a restart of the process."""
        self.store = copy.deepcopy(self.store)
        self.now_ms += 1
        self.started_at_ms = self.now_ms

    def top_up(self, counts: dict[str, int], unused: list[str]) -> dict[str, Any]:
        upload = accounts.top_up(self.account, KEY, counts=counts, unused_fallback_types=unused)
        self.store.account = upload.account
        self.server.upload(*self.address, upload.body)
        self.store.account = accounts.mark_published(self.account, KEY)
        return upload.body

    # --- writing --------------------------------------------------------------------------------------

    def send(
        self,
        text: str,
        members: Sequence[Member],
        *,
        is_key_lost: bool = False,
        event_type: str = "m.room.message",
        content: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Share the key with the members' devices and return the encrypted room event, of ``text`` or ``content``."""
        recipients = self.members_devices(members)
        plan = outbound_sessions.plan_outbound(
            self.store.outbound,
            account=self.account,
            room=ROOM,
            policy=self.policy,
            devices=recipients,
            shared=self.store.shared.values(),
            started_at_ms=self.started_at_ms,
            now_ms=self.now_ms,
            key=KEY,
            only_cross_signed=self.only_cross_signed,
        )
        self.store.outbound = plan.session
        if plan.inbound is not None:
            self.keep(plan.inbound)
        self.withhold(plan.unverified, withheld.WithheldCode.UNVERIFIED)
        self.share(plan.recipients, is_key_lost=is_key_lost)
        encrypted = outbound_sessions.encrypt_event(
            plan.session,
            account=self.account,
            event_type=event_type,
            content=content or {"msgtype": "m.text", "body": text},
            key=KEY,
        )
        self.store.outbound = encrypted.session
        return {
            "type": "m.room.encrypted",
            "sender": self.user,
            "event_id": self.next_id(),
            "room_id": ROOM,
            "content": encrypted.content,
        }

    def members_devices(self, members: Sequence[Member]) -> list[DeviceRow]:
        response = self.server.query()
        for member in members:
            known = self.store.devices.get(member.user, {})
            found = devices.verify_devices(response, user=member.user, known=known)
            self.store.devices[member.user] = {device.device_id: device for device in found.devices}
        return [device for member in members for device in self.store.devices[member.user].values()]

    def share(self, recipients: tuple[DeviceRow, ...], *, is_key_lost: bool = False) -> None:
        outbound = self.store.outbound
        assert outbound is not None
        for _ in range(2):
            share = key_sharing.share_session(
                outbound,
                recipients=recipients,
                olm_sessions=self.newest(),
                account=self.account,
                own_device_keys=accounts.device_keys(self.account, KEY),
                key=KEY,
            )
            self.keep_share(share, "m.room.encrypted", is_lost=is_key_lost)
            recipients = self._without_session(recipients)
            if not recipients:
                return
            claimed = self.claim(recipients)
            self.withhold(claimed.without, withheld.WithheldCode.NO_OLM)

    def _without_session(self, recipients: tuple[DeviceRow, ...]) -> tuple[DeviceRow, ...]:
        """Return the devices without an Olm session; one that got ``m.no_olm`` starts an Olm session itself."""
        assert self.store.outbound is not None
        known, shared = self.newest(), self.store.shared
        names = {device: (self.store.outbound.session_id, device.user, device.device_id) for device in recipients}
        refused = {name for name, row in shared.items() if row.withheld == withheld.WithheldCode.NO_OLM}
        return tuple(each for each in recipients if each.curve25519 not in known and names[each] not in refused)

    def withhold(self, recipients: tuple[DeviceRow, ...], code: withheld.WithheldCode) -> None:
        assert self.store.outbound is not None
        share = key_sharing.withhold_session(self.store.outbound, recipients, code, account=self.account)
        self.keep_share(share, "m.room_key.withheld")

    def keep_share(self, share: key_sharing.KeyShare, event_type: str, *, is_lost: bool = False) -> None:
        self.keep_olm(*share.sessions)
        self.store.shared |= {(row.session_id, row.user, row.device_id): row for row in share.shared}
        if not is_lost:
            self.server.send(self.user, event_type, share.messages)

    def claim(self, recipients: tuple[DeviceRow, ...]) -> olm_sessions.ClaimedSessions:
        response = self.server.claim(olm_sessions.claim_request(recipients))
        claimed = olm_sessions.start_sessions(response, recipients, account=self.account, key=KEY, now_ms=self.now_ms)
        self.keep_olm(*claimed.sessions)
        return claimed

    def newest(self) -> dict[str, OlmSessionRow]:
        return {curve: row for curve, _ in self.store.olm if (row := olm_sessions.newest_session(self.olm_with(curve)))}

    def olm_with(self, curve25519: str) -> list[OlmSessionRow]:
        return [row for row in self.store.olm.values() if row.curve25519 == curve25519]

    def keep_olm(self, *rows: OlmSessionRow) -> None:
        self.store.olm |= {(row.curve25519, row.session_id): row for row in rows}

    # --- to-device messages ---------------------------------------------------------------------------

    def take_queue(self) -> list[dict[str, Any]]:
        return self.server.queues.pop(self.address, [])

    def receive_all(self) -> None:
        for event in self.take_queue():
            self.receive(event)

    def receive(self, event: dict[str, Any]) -> olm_events.OlmEvent | None:
        """Process one to-device event as a caller does; return the decrypted event."""
        match event["type"]:
            case "m.room_key_request":
                self.answer(event)
            case "m.room_key.withheld":
                self.store.withheld.append(withheld.parse_withheld(event))
            case "m.room.encrypted":
                return self.receive_encrypted(event)
        return None

    def receive_encrypted(self, event: dict[str, Any]) -> olm_events.OlmEvent | None:
        reference = olm_events.parse_olm_event(event, account=self.account)
        try:
            found = olm_events.decrypt_olm_event(
                reference,
                account=self.account,
                sessions=self.olm_with(reference.curve25519),
                key=KEY,
                now_ms=self.now_ms,
            )
        except (Undecryptable, UnknownSession):
            self.recover(reference)
            return None
        self.store.account = found.account or self.store.account
        self.keep_olm(found.session)
        for row in found.superfluous:
            self.store.olm.pop((row.curve25519, row.session_id), None)
        self.apply(found.event)
        return found.event

    def apply(self, event: olm_events.OlmEvent) -> None:
        match event.type:
            case "m.room_key":
                self.keep(inbound_sessions.from_room_key(event, ghost=self.user, key=KEY))
            case "m.forwarded_room_key":
                row = inbound_sessions.from_forwarded_key(event, self.store.requests.values(), ghost=self.user, key=KEY)
                self.keep(row)

    def keep(self, new: InboundSessionRow) -> None:
        name = (new.room, new.session_id, new.curve25519)
        if best := inbound_sessions.merge(self.store.inbound.get(name), new, KEY):
            self.store.inbound[name] = best

    def recover(self, reference: olm_events.OlmReference) -> None:
        """Start a new Olm session with a device whose message was undecryptable."""
        last = self.store.recovered_at_ms.get(reference.curve25519)
        known = [row for each in self.store.devices.values() for row in each.values()]
        device = next((row for row in known if row.curve25519 == reference.curve25519), None)
        if device is None or not olm_sessions.is_recovery_due(last, now_ms=self.now_ms):
            return
        self.store.recovered_at_ms[reference.curve25519] = self.now_ms
        if self.claim((device,)).sessions:
            self.send_olm(device, olm_sessions.DUMMY, {})

    def send_olm(self, device: DeviceRow, event_type: str, content: dict[str, Any]) -> None:
        session = self.newest()[device.curve25519]
        encrypted = olm_sessions.encrypt_to_device(
            session,
            device,
            event_type=event_type,
            content=content,
            account=self.account,
            own_device_keys=accounts.device_keys(self.account, KEY),
            key=KEY,
        )
        self.keep_olm(encrypted.session)
        self.server.send(self.user, "m.room.encrypted", {device.user: {device.device_id: encrypted.content}})

    # --- key requests ---------------------------------------------------------------------------------

    def request_key(self, event: dict[str, Any]) -> None:
        reference = megolm_events.parse_megolm_event(event, room=ROOM)
        request_id = f"request{len(self.store.requests)}"
        row = key_requests.new_request(
            reference,
            ghost=self.user,
            request_id=request_id,
            open_requests=self.store.requests.values(),
            now_ms=self.now_ms,
        )
        if row is None:
            return
        self.store.requests[request_id] = row
        self.send_request(row)

    def send_request(self, row: KeyRequestRow) -> None:
        content = key_requests.request_content(row, account=self.account, curve25519=None)
        self.server.send(self.user, "m.room_key_request", {row.user: {row.device_id: content}})

    def answer(self, event: dict[str, Any]) -> None:
        request = key_requests.parse_request(event)
        if isinstance(request, key_requests.RequestCancellation):
            return
        session = self.store.inbound.get((request.room, request.session_id, self.account.curve25519))
        shared = self.store.shared.get((request.session_id, request.user, request.device_id))
        if session is None or shared is None:
            return
        try:
            content = key_requests.answer_request(request, session, shared, account=self.account, key=KEY)
        except EncryptionError:
            return
        device = self.store.devices[request.user][request.device_id]
        if device.curve25519 not in self.newest():
            self.claim((device,))
        self.send_olm(device, "m.forwarded_room_key", content)

    # --- reading --------------------------------------------------------------------------------------

    def read(self, event: dict[str, Any]) -> megolm_events.MegolmDecrypted:
        reference = megolm_events.parse_megolm_event(event, room=ROOM)
        session = megolm_events.select_session(reference, self.store.inbound.values())
        name = (reference.session_id, reference.sender, reference.index)
        found = megolm_events.decrypt_megolm_event(reference, session, seen=self.store.index.get(name), key=KEY)
        self.store.index[name] = found.index
        return found


def text_of(found: megolm_events.MegolmDecrypted) -> str:
    body = found.content["body"]
    assert isinstance(body, str)
    return body


def event_id(event: dict[str, Any]) -> EventId:
    return EventId(event["event_id"])
