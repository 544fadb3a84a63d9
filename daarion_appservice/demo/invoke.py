"""The demo's agents core: ``POST /agents/{id}/invoke``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from .client import CityClient, CityRefused, CityUnavailable
from .skills import Request, reply, second_me

DEFAULT_ROOM: Final = "general"
SECOND_ME: Final = "second_me"

_CITIES: Final = web.AppKey("cities", Mapping[str, CityClient])


def invoke_app(cities: Mapping[str, CityClient]) -> web.Application:
    """Return the HTTP application; ``cities`` are the agents' clients by slug."""
    app = web.Application()
    app[_CITIES] = cities
    app.router.add_post("/agents/{id}/invoke", _invoke)
    return app


async def _invoke(request: web.Request) -> web.Response:
    cities, agent = request.app[_CITIES], request.match_info["id"]
    # Second Me has no token of its own; it uses another agent's client for public data.
    city = next(iter(cities.values()), None) if agent == SECOND_ME else cities.get(agent)
    if city is None:
        return web.json_response({"error": "no such agent"}, status=404)
    try:
        question = _question(await request.json())
    except (ValueError, TypeError, KeyError):
        return web.json_response({"error": 'expected {"input": "…", "context": {…}}'}, status=400)
    try:
        answer = await (second_me(city, question) if agent == SECOND_ME else reply(city, question))
        return web.json_response({"output": answer})
    except (CityUnavailable, CityRefused) as error:
        return web.json_response({"error": str(error)}, status=502)


def _question(body: dict[str, Any]) -> Request:
    text, context = body["input"], body.get("context") or {}
    if not isinstance(text, str):
        raise TypeError("input")
    room = context.get("room") or DEFAULT_ROOM
    if not isinstance(room, str):
        raise TypeError("room")
    author = context.get("user_id") or ""
    if not isinstance(author, str):
        raise TypeError("user_id")
    history = context.get("history") or []
    before = [each["content"] for each in history if each["role"] == "user"]
    return Request(text, room, author, tuple(before))
