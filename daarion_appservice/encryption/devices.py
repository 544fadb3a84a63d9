"""Verifies the device keys of other users from ``POST /keys/query``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..city.types import UserId
from .base64_text import normalized_key
from .errors import EncryptionError, InvalidContent, InvalidSignature
from .json_fields import Json, as_object, id_field, object_field
from .rows import DeviceRow
from .signed_json import require_signature

MAX_DEVICES: Final = 200
"""Devices of one user that get keys: each costs every message of a new session an encryption and a kilobyte."""


@dataclass(frozen=True, slots=True)
class DeviceList:
    """The devices of one user after a query; it replaces the stored devices of that user."""

    devices: tuple[DeviceRow, ...]
    refused: Mapping[str, EncryptionError]
    """The devices that were not taken over, by their id. A known device that came with other keys keeps its old ones."""


def verify_device(keys: Json, *, user: UserId, device_id: str) -> DeviceRow:
    """Verify the ``device_keys`` of one device.

    Args:
        keys: The JSON object; any content.
        user: The user under whom it stands in the response.
        device_id: The device id under which it stands in the response.

    Returns:
        The device, not cross-signed.

    Raises:
        InvalidContent: The object has not the shape in the specification.
        InvalidSignature: The object names another user or device, or the device did not sign it.
    """
    if id_field(keys, "user_id") != user or id_field(keys, "device_id") != device_id:
        raise InvalidSignature(f"device keys of {user} {device_id} name another device")
    public = object_field(keys, "keys")
    curve25519 = normalized_key(public.get(f"curve25519:{device_id}"), what="the identity key")
    ed25519 = normalized_key(public.get(f"ed25519:{device_id}"), what="the signing key")
    require_signature(keys, user=user, key_id=device_id, public_key=ed25519)
    return DeviceRow(user, device_id, curve25519, ed25519, is_cross_signed=False)


def verify_devices(query_response: Json, *, user: UserId, known: Mapping[str, DeviceRow]) -> DeviceList:
    """Verify all devices of one user in a response to ``POST /keys/query``.

    Args:
        query_response: The response; any JSON object. The caller must not ask for users whose homeserver is listed under
            ``failures``: they would lose their devices.
        known: The stored devices of the user by device id.

    Returns:
        The devices that now hold: new ones that verify, and known ones that the response still has.

    Raises:
        InvalidContent: The response has no object ``device_keys``.
    """
    by_user = object_field(query_response, "device_keys")
    listed = as_object(by_user.get(user, {}), what=f"the devices of {user}")
    self_signing = _self_signing_key(query_response, user)
    devices: list[DeviceRow] = []
    refused: dict[str, EncryptionError] = {}
    # Devices that are known come first. In a stable order, so that the limit always leaves out the same ones.
    for device_id, keys in sorted(listed.items(), key=lambda item: (item[0] not in known, item[0])):
        before = known.get(device_id)
        try:
            if len(devices) >= MAX_DEVICES:
                raise InvalidContent(f"{user} has more than {MAX_DEVICES} devices")
            devices.append(_verify_listed(keys, user, device_id, before, self_signing))
        except EncryptionError as error:
            refused[device_id] = error
            if before is not None and len(devices) < MAX_DEVICES:
                devices.append(before)
    return DeviceList(tuple(devices), refused)


def _verify_listed(
    keys: object, user: UserId, device_id: str, before: DeviceRow | None, self_signing: str | None
) -> DeviceRow:
    content = as_object(keys, what=f"device {device_id}")
    device = verify_device(content, user=user, device_id=device_id)
    if before is not None and (before.curve25519, before.ed25519) != (device.curve25519, device.ed25519):
        raise InvalidSignature(f"device {device_id} of {user} came with other keys than before")
    is_signed = self_signing is not None and _is_signed(content, user, self_signing)
    return DeviceRow(user, device_id, device.curve25519, device.ed25519, is_cross_signed=is_signed)


def _self_signing_key(query_response: Json, user: UserId) -> str | None:
    """Return the user's self-signing key if the user's master key signed it."""
    try:
        master = _cross_signing_key(query_response, "master_keys", user)[1]
        content, self_signing = _cross_signing_key(query_response, "self_signing_keys", user)
        require_signature(content, user=user, key_id=master, public_key=master)
    except (InvalidContent, InvalidSignature):
        return None
    return self_signing


def _cross_signing_key(query_response: Json, field: str, user: UserId) -> tuple[dict[str, Any], str]:
    content = object_field(object_field(query_response, field), user)
    usage = field.removesuffix("_keys")
    usages = content.get("usage")
    if id_field(content, "user_id") != user or not isinstance(usages, list) or usage not in usages:
        raise InvalidContent(f"not the {usage} key of {user}")
    keys = object_field(content, "keys")
    if len(keys) != 1:
        raise InvalidContent(f"{user} has {len(keys)} {usage} keys, not one")
    public = normalized_key(next(iter(keys.values())))
    if keys.get(f"ed25519:{public}") is None:
        raise InvalidContent(f"the id of the {usage} key of {user} is not the key")
    return content, public


def _is_signed(content: Json, user: UserId, public_key: str) -> bool:
    try:
        require_signature(content, user=user, key_id=public_key, public_key=public_key)
    except (InvalidContent, InvalidSignature):
        return False
    return True
