"""Build the object graph of the service: its parts, their event subscriptions and its two HTTP servers."""

from __future__ import annotations

from ..config import Settings
from .city import City
from .subscriptions import subscribe

__all__ = ["City", "build_city"]


def build_city(settings: Settings) -> City:
    """Build every part of the service and connect the parts by the event bus. No part runs yet.

    Raises:
        StartError: ``appservice.as_token`` or ``appservice.hs_token`` is empty.
    """
    city = City(settings)
    subscribe(city)
    return city
