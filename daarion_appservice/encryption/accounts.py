"""The account of a ghost's device: identity keys, one-time and fallback keys, and their uploads.

The order of an upload survives a crash at each point: `top_up` makes keys, the caller stores the row, uploads, and
stores the row of `mark_published`. A crash before the last step uploads the same keys with the same signatures again,
which a homeserver accepts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from ..city.types import UserId
from .json_fields import Json
from .primitives import OlmAccount, PickleKey
from .rows import AccountRow
from .signed_json import sign_json

OLM: Final = "m.olm.v1.curve25519-aes-sha2"
MEGOLM: Final = "m.megolm.v1.aes-sha2"
ONE_TIME_KEY: Final = "signed_curve25519"


@dataclass(frozen=True, slots=True)
class KeyUpload:
    """The row to store before an upload, and the fields of ``POST /keys/upload`` (empty if nothing is to be uploaded)."""

    account: AccountRow
    body: dict[str, Any]


def create_account(
    ghost: UserId, device_id: str, key: PickleKey, *, signing_keys_of: AccountRow | None = None
) -> AccountRow:
    """Create the keys of a device.

    Args:
        ghost: The user of the device.
        device_id: A device id that the ghost never had: random, and new whenever the account is.
        key: The key for the pickles.
        signing_keys_of: An account whose cross-signing keys the new device keeps; None makes new ones.

    Returns:
        The account to store before anything is uploaded.
    """
    account = OlmAccount()
    if signing_keys_of is None:
        # vodozemac has no bare Ed25519 secret keys: an account that only signs takes their place.
        master, self_signing = OlmAccount().pickle(key), OlmAccount().pickle(key)
    else:
        master, self_signing = signing_keys_of.master_pickle, signing_keys_of.self_signing_pickle
    return AccountRow(ghost, device_id, account.curve25519, account.ed25519, account.pickle(key), master, self_signing)


def device_keys(row: AccountRow, key: PickleKey) -> dict[str, Any]:
    """Return the signed ``device_keys`` of an account, as its owner uploads them and puts them into Olm messages.

    They have the signatures of the device and of the self-signing key (MSC4147 wants both).
    """
    unsigned = {
        "user_id": row.ghost,
        "device_id": row.device_id,
        "algorithms": [OLM, MEGOLM],
        "keys": {f"curve25519:{row.device_id}": row.curve25519, f"ed25519:{row.device_id}": row.ed25519},
    }
    account = OlmAccount.from_pickle(row.pickle, key)
    self_signing = OlmAccount.from_pickle(row.self_signing_pickle, key)
    by_device = sign_json(unsigned, user=row.ghost, key_id=row.device_id, sign=account.sign)
    return sign_json(by_device, user=row.ghost, key_id=self_signing.ed25519, sign=self_signing.sign)


def top_up(row: AccountRow, key: PickleKey, *, counts: Json, unused_fallback_types: object) -> KeyUpload:
    """Make the one-time and fallback keys that the homeserver lacks.

    Args:
        row: The account.
        key: The key for the pickles.
        counts: ``device_one_time_keys_count`` of ``/sync``.
        unused_fallback_types: ``device_unused_fallback_key_types`` of ``/sync``, a list of algorithms; anything else
            (a homeserver that does not say) makes no fallback key. The first upload passes an empty list.

    Returns:
        The account to store first, and the fields to upload. An earlier upload that was not marked as published is
        repeated as it was.
    """
    account = OlmAccount.from_pickle(row.pickle, key)
    count = counts.get(ONE_TIME_KEY, 0)
    lacking = account.max_one_time_keys - (count if isinstance(count, int) else 0)
    if lacking > 0 and not account.unpublished_one_time_keys():
        account.generate_one_time_keys(min(lacking, account.max_one_time_keys))
    lacks_fallback = isinstance(unused_fallback_types, list) and ONE_TIME_KEY not in unused_fallback_types
    if lacks_fallback and not account.unpublished_fallback_key():
        account.generate_fallback_key()
    body = {
        "one_time_keys": _signed_keys(row, account, account.unpublished_one_time_keys(), {}),
        "fallback_keys": _signed_keys(row, account, account.unpublished_fallback_key(), {"fallback": True}),
    }
    return KeyUpload(replace(row, pickle=account.pickle(key)), {name: keys for name, keys in body.items() if keys})


def mark_published(row: AccountRow, key: PickleKey) -> AccountRow:
    """Return the account after the homeserver accepted the upload of `top_up`."""
    account = OlmAccount.from_pickle(row.pickle, key)
    account.mark_published()
    return replace(row, pickle=account.pickle(key))


def _signed_keys(row: AccountRow, account: OlmAccount, keys: dict[str, str], extra: Json) -> dict[str, Any]:
    return {
        f"{ONE_TIME_KEY}:{key_id}": sign_json(
            {"key": public, **extra}, user=row.ghost, key_id=row.device_id, sign=account.sign
        )
        for key_id, public in keys.items()
    }
