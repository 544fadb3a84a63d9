"""The cross-signing identity of a ghost: a master key and a self-signing key, which signs the ghost's device.

Clients shut out devices whose owner did not sign them. A ghost verifies no user and needs no user-signing key.
"""

from __future__ import annotations

from typing import Any

from .accounts import device_keys
from .json_fields import Json
from .primitives import OlmAccount, PickleKey
from .rows import AccountRow
from .signed_json import sign_json


def signing_keys_upload(row: AccountRow, key: PickleKey) -> dict[str, Any]:
    """Return the body of ``POST /keys/device_signing/upload``.

    It must be sent once per identity: Synapse answers 500 to the same master key with other signatures (see
    `has_identity`).
    """
    master = OlmAccount.from_pickle(row.master_pickle, key)
    account = OlmAccount.from_pickle(row.pickle, key)
    self_signing = OlmAccount.from_pickle(row.self_signing_pickle, key)
    return {
        "master_key": sign_json(
            _public_key(row, "master", master.ed25519), user=row.ghost, key_id=row.device_id, sign=account.sign
        ),
        "self_signing_key": sign_json(
            _public_key(row, "self_signing", self_signing.ed25519),
            user=row.ghost,
            key_id=master.ed25519,
            sign=master.sign,
        ),
    }


def device_signature_upload(row: AccountRow, key: PickleKey) -> dict[str, Any]:
    """Return the body of ``POST /keys/signatures/upload``, which makes the device one of the identity."""
    return {row.ghost: {row.device_id: device_keys(row, key)}}


def has_identity(query_response: Json, row: AccountRow, key: PickleKey) -> bool:
    """Return whether a response to ``POST /keys/query`` has the ghost's own master and self-signing keys.

    Args:
        query_response: The response; any JSON object.
        row: The account of the ghost.
        key: The key for the pickles.

    Returns:
        False if a key is missing or another's: `signing_keys_upload` must be sent.
    """
    pairs = (("master_keys", row.master_pickle), ("self_signing_keys", row.self_signing_pickle))
    for field, pickle in pairs:
        public = OlmAccount.from_pickle(pickle, key).ed25519
        by_user = query_response.get(field)
        entry = by_user.get(row.ghost) if isinstance(by_user, dict) else None
        keys = entry.get("keys") if isinstance(entry, dict) else None
        if not isinstance(keys, dict) or keys.get(f"ed25519:{public}") != public:
            return False
    return True


def has_device(query_response: Json, row: AccountRow) -> bool | None:
    """Return whether a response to ``POST /keys/query`` has the ghost's device with the account's keys.

    Args:
        query_response: The response; any JSON object.
        row: The account of the ghost.

    Returns:
        True if it has, None if the device has no keys yet, False if it has other keys: the account is lost and the ghost
        needs a new device id.
    """
    by_user = query_response.get("device_keys")
    devices = by_user.get(row.ghost) if isinstance(by_user, dict) else None
    device = devices.get(row.device_id) if isinstance(devices, dict) else None
    if device is None:
        return None
    keys = device.get("keys") if isinstance(device, dict) else None
    expected = {f"curve25519:{row.device_id}": row.curve25519, f"ed25519:{row.device_id}": row.ed25519}
    return isinstance(keys, dict) and {name: keys.get(name) for name in expected} == expected


def _public_key(row: AccountRow, usage: str, public: str) -> dict[str, Any]:
    return {"user_id": row.ghost, "usage": [usage], "keys": {f"ed25519:{public}": public}}
