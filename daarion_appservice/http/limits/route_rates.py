"""Which rate limit a route or a client event of a WebSocket counts for."""

from __future__ import annotations

from typing import Final

from aiohttp import hdrs, web

from ..routing import route_description_of
from .rates import Rate

ROUTE_RATES: Final = {
    ("GET", "/city/search"): Rate.SEARCHES,
    ("GET", "/city/preview"): Rate.PREVIEWS,
    ("GET", "/city/preview/image"): Rate.PREVIEWS,
    ("POST", "/city/rooms"): Rate.ROOMS,
    ("POST", "/city/direct"): Rate.ROOMS,
    ("POST", "/city/rooms/{room_id}/messages"): Rate.MESSAGES,
    ("POST", "/city/sign-in/name"): Rate.SIGN_INS,
    ("POST", "/city/sign-in/matrix"): Rate.SIGN_INS,
    # Each link requests the homeserver, and makes the clients of the citizen's rooms read them again.
    ("PUT", "/city/me/matrix"): Rate.SIGN_INS,
    ("PUT", "/city/rooms/{room_id}/typing"): Rate.TYPING,
    ("PUT", "/city/rooms/{room_id}/read"): Rate.TYPING,
    ("POST", "/api/v1/agents/{agent_id}/heartbeat"): Rate.HEARTBEATS,
    ("POST", "/api/v1/presence/heartbeat"): Rate.HEARTBEATS,
}
"""The routes with a rate of their own; all others count as reads, changes or uploads."""

_EVENT_RATES: Final = {
    "city.room.send": Rate.MESSAGES,
    "city.room.typing": Rate.TYPING,
    "city.room.read": Rate.TYPING,
    "presence.heartbeat": None,
    "presence.offline": None,
}
"""Client events count like the same action by HTTP. Heartbeats are too frequent for that: only the leaky bucket limits them."""

_READING: Final = {hdrs.METH_GET, hdrs.METH_HEAD}


def rate_of(request: web.Request) -> Rate:
    """Return the rate that a request counts for."""
    resource = request.match_info.route.resource
    method = hdrs.METH_GET if request.method in _READING else request.method
    if resource is not None and (rate := ROUTE_RATES.get((method, resource.canonical))):
        return rate
    if request.method in _READING:
        return Rate.READS
    description = route_description_of(request.match_info.handler)
    takes_json = description is None or description.request_type == "application/json"
    return Rate.CHANGES if takes_json else Rate.UPLOADS


def rate_of_event(name: object) -> Rate | None:
    """Return the rate that a client event counts for; None if it has none. Unknown events count as changes."""
    return _EVENT_RATES.get(name, Rate.CHANGES) if isinstance(name, str) else Rate.CHANGES


def is_unauthenticated(request: web.Request) -> bool:
    """Return whether no handler authenticates a request: its route is public or unknown."""
    if request.match_info.http_exception is not None:
        return True
    description = route_description_of(request.match_info.handler)
    return description is not None and description.access is None
