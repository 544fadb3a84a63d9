"""A scripted homeserver that keeps device keys, claims and to-device queues, and answers ``/sync`` as Synapse does."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Final

from tests.parts.encryption_peer import KeyServer
from tests.parts.scripted_homeserver import (
    HANG_UP,
    ROUTES,
    Fault,
    HangUp,
    Lose,
    ReceivedRequest,
    Reply,
    ScriptedHomeserver,
    refused,
)

_PAGE: Final = 100
_KEY_ROUTES: Final = {
    "delete_device": ("DELETE", "/_matrix/client/v3/devices/{device}"),
    "upload_keys": ("POST", "/_matrix/client/v3/keys/upload"),
    "signing_keys": ("POST", "/_matrix/client/v3/keys/device_signing/upload"),
    "signatures": ("POST", "/_matrix/client/v3/keys/signatures/upload"),
    "query_keys": ("POST", "/_matrix/client/v3/keys/query"),
    "claim_keys": ("POST", "/_matrix/client/v3/keys/claim"),
    "to_device": ("PUT", "/_matrix/client/v3/sendToDevice/{type}/{txn_id}"),
    "room_members": ("GET", "/_matrix/client/v3/rooms/{room}/members"),
}

Address = tuple[str, str]
"""A user id and a device id."""


class KeyHomeserver(ScriptedHomeserver):
    """A homeserver whose faults are scripted, and whose keys and queues are real.

    It keeps the rules of Synapse that the service depends on: a page of 100 to-device events; the cached response to a
    repeated ``/sync``; one key for each one-time key id; no second upload of a master key with other signatures; and a
    device that must exist before its keys.
    """

    routes = ROUTES | _KEY_ROUTES

    def __init__(self) -> None:
        super().__init__()
        self.keys = KeyServer()
        self.device_ids: dict[str, list[str]] = {}
        self.memberships: dict[str, dict[str, str]] = {}
        """The membership of each user, by room."""
        self.state: dict[tuple[str, str], dict[str, Any]] = {}
        """The content of state events by room and type."""
        self.changed: dict[str, list[str]] = {}
        """The users whose device lists the next ``/sync`` of a user names."""
        self.files: dict[str, bytes] = {}
        """The uploaded files by their URI."""
        self.failed_servers: set[str] = set()
        """The homeservers that answer no query for keys."""
        self.on_sync: Callable[[ReceivedRequest], None] = lambda _: None
        """Called before the response to each ``/sync`` is made."""
        self._acknowledged: dict[Address, int] = {}
        self._cache: dict[tuple[Address, str | None, str], dict[str, Any]] = {}
        self._txn_ids: set[tuple[str, str, str]] = set()
        self._answers: dict[str, Callable[[ReceivedRequest], Fault]] = {
            "device": self._make_device,
            "devices": lambda received: Reply(200, {"devices": self._devices(received.user)}),
            "delete_device": self._delete_device,
            "upload_keys": self._upload_keys,
            "signing_keys": self._upload_signing_keys,
            "signatures": self._upload_signatures,
            "query_keys": self._query_keys,
            "claim_keys": lambda received: Reply(200, self.keys.claim(received.content)),
            "to_device": self._send_to_device,
            "sync": self._sync,
            "room_members": self._members,
            "upload": self._upload,
            "state": self._state,
        }

    def queue(self, address: Address, *events: Any) -> None:
        """Put to-device events into the queue of a device."""
        self.keys.queues.setdefault(address, []).extend(copy.deepcopy(list(events)))

    def break_off(self, what: str, fault: HangUp | Lose = HANG_UP) -> None:
        """Let the next request of this kind fail, also if aiohttp repeats it, as it does with all but POST requests."""
        self.next(what, *[fault] * (1 if self.routes[what][0] == "POST" else 2))

    def encryption_devices(self, user: str) -> list[str]:
        """Return the ids of a user's devices with keys."""
        return sorted(self.keys.device_keys.get(user, {}))

    def _response(self, received: ReceivedRequest) -> Fault:
        answer = self._answers.get(received.what)
        return answer(received) if answer is not None else super()._response(received)

    # --- devices --------------------------------------------------------------------------------------

    def _devices(self, user: str) -> list[dict[str, str]]:
        return [{"device_id": device} for device in self.device_ids.get(user, [])]

    def _make_device(self, received: ReceivedRequest) -> Reply:
        devices = self.device_ids.setdefault(received.user, [])
        if (device := received.path["device"]) not in devices:
            devices.append(device)
        return Reply(200, {})

    def _delete_device(self, received: ReceivedRequest) -> Reply:
        user, device = received.user, received.path["device"]
        if device in self.device_ids.get(user, []):
            self.device_ids[user].remove(device)
        self.keys.device_keys.get(user, {}).pop(device, None)
        for kept in (self.keys.one_time_keys, self.keys.fallback_keys, self.keys.queues):
            kept.pop((user, device), None)
        return Reply(200, {})

    # --- keys -----------------------------------------------------------------------------------------

    def _upload_keys(self, received: ReceivedRequest) -> Reply:
        user, device, body = received.user, received.query.get("device_id", ""), received.content
        if device not in self.device_ids.get(user, []):
            return refused(400, "M_UNKNOWN_DEVICE", "Application service trying to use a device that doesn't exist")
        stored = self.keys.one_time_keys.get((user, device), {})
        for key_id, key in body.get("one_time_keys", {}).items():
            if stored.get(key_id, key) != key:
                return refused(400, "M_UNKNOWN", f"One time key {key_id} already exists. Old key: …; new key: …")
        if keys := body.get("device_keys"):
            self.keys.device_keys.setdefault(user, {})[device] = keys
        self.keys.upload(user, device, body)
        return Reply(200, {"one_time_key_counts": {}})

    def _upload_signing_keys(self, received: ReceivedRequest) -> Reply:
        user, master = received.user, received.content["master_key"]
        stored = self.keys.master_keys.get(user)
        if stored and stored["keys"] == master["keys"] and stored["signatures"] != master["signatures"]:
            return refused(500, "M_UNKNOWN", "Internal server error")
        self.keys.master_keys[user] = master
        self.keys.self_signing_keys[user] = received.content["self_signing_key"]
        return Reply(200, {})

    def _upload_signatures(self, received: ReceivedRequest) -> Reply:
        for user, devices in received.content.items():
            for device, keys in devices.items():
                stored = self.keys.device_keys[user][device]
                stored["signatures"][user] |= keys["signatures"][user]
        return Reply(200, {"failures": {}})

    def _query_keys(self, received: ReceivedRequest) -> Reply:
        asked = received.content["device_keys"]
        found = {
            field: {user: keys for user, keys in by_user.items() if user in asked and self._answers_for(user)}
            for field, by_user in self.keys.query().items()
        }
        known = {user: found["device_keys"].get(user, {}) for user in asked if self._answers_for(user)}
        failures = {server: {"status": 503} for server in self.failed_servers}
        return Reply(200, found | {"device_keys": known, "failures": failures})

    def _answers_for(self, user: str) -> bool:
        return user.partition(":")[2] not in self.failed_servers

    # --- to-device events -----------------------------------------------------------------------------

    def _send_to_device(self, received: ReceivedRequest) -> Reply:
        txn = (received.user, received.path["type"], received.path["txn_id"])
        if txn not in self._txn_ids:
            self._txn_ids.add(txn)
            self.keys.send(received.user, received.path["type"], received.content["messages"])
        return Reply(200, {})

    def _sync(self, received: ReceivedRequest) -> Reply:
        """Answer a pull: events before ``since`` are deleted, and a repeated request gets the same response."""
        self.on_sync(received)
        address = received.user, received.query.get("device_id", "")
        since = received.query.get("since")
        request = (address, since, received.query["timeout"])
        if request not in self._cache:
            response = self._page_of(address, int(since or 0))
            if not response["to_device"]["events"]:
                return Reply(200, response)
            self._cache[request] = response
        return Reply(200, self._cache[request])

    def _page_of(self, address: Address, since: int) -> dict[str, Any]:
        queue = self.keys.queues.setdefault(address, [])
        del queue[: since - self._acknowledged.get(address, 0)]
        self._acknowledged[address] = max(since, self._acknowledged.get(address, 0))
        events = queue[:_PAGE]
        fallback = self.keys.fallback_keys.get(address)
        return copy.deepcopy(
            {
                "next_batch": str(self._acknowledged[address] + len(events)),
                "to_device": {"events": events},
                "device_lists": {"changed": self.changed.pop(address[0], [])},
                "device_one_time_keys_count": {"signed_curve25519": len(self.keys.one_time_keys.get(address, {}))},
                "device_unused_fallback_key_types": ["signed_curve25519"] if fallback else [],
            }
        )

    # --- files and rooms ----------------------------------------------------------------------------------------

    def _upload(self, received: ReceivedRequest) -> Reply:
        uri = f"mxc://city.localhost/upload{len(self.files)}"
        self.files[uri] = received.content
        return Reply(200, {"content_uri": uri})

    def _members(self, received: ReceivedRequest) -> Reply:
        members = self.memberships.get(received.path["room"], {})
        chunk = [{"state_key": user, "content": {"membership": membership}} for user, membership in members.items()]
        return Reply(200, {"chunk": chunk})

    def _state(self, received: ReceivedRequest) -> Reply:
        content = self.state.get((received.path["room"], received.path["type"]))
        return Reply(200, content) if content is not None else refused(404, "M_NOT_FOUND")
