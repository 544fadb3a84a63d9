"""The endpoints of the homeserver that the service calls, as names for metrics: paths with placeholders, and no ids."""

from __future__ import annotations

from typing import Any, Final

OTHER: Final = "other"
"""The name of a path that is not in the list."""

ENDPOINTS: Final = (
    "/account/deactivate",
    "/account/whoami",
    "/appservice/{appserviceId}/ping",
    "/capabilities",
    "/config",
    "/createRoom",
    "/daarion/presence",
    "/devices",
    "/devices/{deviceId}",
    "/directory/list/room/{roomId}",
    "/directory/room/{roomAlias}",
    "/download/{serverName}/{mediaId}",
    "/join/{roomIdOrAlias}",
    "/joined_rooms",
    "/keys/claim",
    "/keys/device_signing/upload",
    "/keys/query",
    "/keys/signatures/upload",
    "/keys/upload",
    "/media/config",
    "/media/download/{serverName}/{mediaId}",
    "/media/preview_url",
    "/media/thumbnail/{serverName}/{mediaId}",
    "/openid/userinfo",
    "/presence/{userId}/status",
    "/preview_url",
    "/profile/{userId}",
    "/profile/{userId}/{keyName}",
    "/publicRooms",
    "/register",
    "/rooms/{roomId}/ban",
    "/rooms/{roomId}/event/{eventId}",
    "/rooms/{roomId}/invite",
    "/rooms/{roomId}/joined_members",
    "/rooms/{roomId}/kick",
    "/rooms/{roomId}/leave",
    "/rooms/{roomId}/members",
    "/rooms/{roomId}/messages",
    "/rooms/{roomId}/receipt/{receiptType}/{eventId}",
    "/rooms/{roomId}/redact/{eventId}/{txnId}",
    "/rooms/{roomId}/relations/{eventId}/{relType}",
    "/rooms/{roomId}/send/{eventType}/{txnId}",
    "/rooms/{roomId}/state",
    "/rooms/{roomId}/state/{eventType}/{stateKey}",
    "/rooms/{roomId}/typing/{userId}",
    "/rooms/{roomId}/unban",
    "/sendToDevice/{eventType}/{txnId}",
    "/sync",
    "/thumbnail/{serverName}/{mediaId}",
    "/upload",
    "/versions",
)

_PLACEHOLDER: Final = "{}"
_NAME: Final = None
"""The key of the endpoint's name in the node where its path ends."""


def endpoint_of(path: str) -> str:
    """Return the endpoint of a path like ``_matrix/client/v3/rooms/…/state``, or ``OTHER``."""
    node: Any = _TREE
    for segment in _without_prefix(path.strip("/").split("/")):
        node = node.get(segment) or node.get(_PLACEHOLDER)
        if node is None:
            return OTHER
    name: str = node.get(_NAME, OTHER)
    return name


def _without_prefix(segments: list[str]) -> list[str]:
    """Return the segments after ``_matrix``, the API and its version (or the name of an unstable feature)."""
    match segments:
        case [_, _, "unstable", _, *rest]:
            return rest
        case ["_matrix", _, version, *rest] if version[:1] == "v" and version[1:].isdigit():
            return rest
    return segments[2:]


def _tree() -> dict[str | None, Any]:
    """Return the endpoints as nested dictionaries by segment."""
    tree: dict[str | None, Any] = {}
    for endpoint in ENDPOINTS:
        node = tree
        for segment in endpoint.strip("/").split("/"):
            node = node.setdefault(_PLACEHOLDER if segment.startswith("{") else segment, {})
        node[_NAME] = endpoint
    # `strip` removes the slash before an empty state key.
    state = tree["rooms"][_PLACEHOLDER]["state"][_PLACEHOLDER]
    state[_NAME] = state[_PLACEHOLDER][_NAME]
    return tree


_TREE: Final = _tree()
