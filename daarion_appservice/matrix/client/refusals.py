"""Classification of the homeserver's error responses by errcode, with advice for the admin."""

from __future__ import annotations

from typing import Final

from ...city.delivery_errors import DeliveryError
from ...errors import HomeserverRefused, InvalidHomeserverResponse

ACCOUNT_TAKEN: Final = "DAARION_ACCOUNT_TAKEN"
"""The service's own errcode for a user id of its namespace that is the account of a person."""
UNKNOWN_DEVICE: Final = "M_UNKNOWN_DEVICE"
"""The errcode for a ``device_id`` that the user does not have (spec 1.17, "Server admin style permissions")."""
_NOT_REGISTERED: Final = "Application service has not registered this user"
"""The message of Synapse; the errcode is M_FORBIDDEN only."""
_NOT_IN_NAMESPACE: Final = "Application service cannot masquerade as this user"
"""The message of Synapse for a user id that no namespace of the registration matches; the errcode is M_FORBIDDEN only."""
_KEY_CLASH: Final = "already exists"
"""The message of Synapse for a one-time key id with another key; the errcode is only M_UNKNOWN (handlers/e2e_keys.py)."""
_BLOCKED: Final = "has been blocked on this server"
"""The message of Synapse for a blocked room; the errcode is only M_UNKNOWN (synapse/handlers/room_member.py)."""


def is_blocked(error: HomeserverRefused) -> bool:
    """Return whether the admin of the homeserver has blocked the room (admin API, "Delete Room" with ``block``)."""
    return error.status == 403 and _BLOCKED in error.message


def is_unregistered(error: HomeserverRefused) -> bool:
    """Return whether Synapse refused a request because the acting user is not registered."""
    return error.status == 403 and _NOT_REGISTERED in error.message


def is_outside_namespaces(error: HomeserverRefused) -> bool:
    """Return whether Synapse refused a request because its copy of the registration does not cover the acting user."""
    return error.status == 403 and _NOT_IN_NAMESPACE in error.message


def is_key_clash(error: HomeserverRefused) -> bool:
    """Return whether Synapse has other one-time keys of the device: the stored account is older than the device."""
    return error.status == 400 and "key" in error.message.lower() and _KEY_CLASH in error.message


def is_transient(error: HomeserverRefused) -> bool:
    """Return whether the same request may succeed later: the refusal concerns the whole service or homeserver."""
    # The homeserver would send a response of the wrong shape again.
    if isinstance(error, InvalidHomeserverResponse):
        return False
    return error.status in {401, 429} or error.status >= 500


def delivery_error(error: Exception) -> DeliveryError:
    """Return the delivery error of a message that the homeserver refused, for its author."""
    if not isinstance(error, HomeserverRefused):
        return DeliveryError.REFUSED
    if error.errcode == ACCOUNT_TAKEN:
        return DeliveryError.ACCOUNT_TAKEN
    if error.status == 403:
        return DeliveryError.NOT_ALLOWED
    return DeliveryError.TOO_LARGE if error.status == 413 else DeliveryError.REFUSED


def advice(error: Exception) -> str | None:
    """Return what the admin has to correct, or None if only a retry can help."""
    if not isinstance(error, HomeserverRefused):
        return None
    if error.errcode == "M_EXCLUSIVE":
        return (
            "another application service of this homeserver owns this name: its registration's namespaces overlap with "
            "@agent_…, @citizen_…, @city_observer or #city_…; correct the other registration and restart Synapse"
        )
    if error.errcode == ACCOUNT_TAKEN:
        return error.message
    if is_blocked(error):
        return "the homeserver's admin blocked this room; unblock it with Synapse's admin API, or archive the room in the city"
    if error.errcode == "M_UNKNOWN_TOKEN":
        return "Synapse does not accept the as_token any more: see `daarion-appservice registration check`"
    return None
