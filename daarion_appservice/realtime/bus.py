"""Tells listeners in this process what has happened, right after it is stored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any, TypeVar

from ..city.events import CityEvent
from .listeners import notify_all

E = TypeVar("E", bound=CityEvent)


class Bus:
    """Listeners are plain functions that return at once: they note a wish or wake a task, and do no work here.

    An exception in one listener is logged and counted (``listeners.tell_all``); whoever publishes never gets it.
    """

    def __init__(self) -> None:
        self._listeners: defaultdict[type[Any], list[Callable[[Any], None]]] = defaultdict(list)
        self._own_listeners: defaultdict[type[Any], list[Callable[[Any], None]]] = defaultdict(list)

    def subscribe(self, kind: type[E], listener: Callable[[E], None]) -> None:
        self._listeners[kind].append(listener)

    def subscribe_own(self, kind: type[E], listener: Callable[[E], None]) -> None:
        """Listen to what happens in this process, and not to what it hears from others."""
        self._own_listeners[kind].append(listener)

    def publish(self, event: CityEvent) -> None:
        """It happened here."""
        self.hear(event)
        notify_all(type(event).__name__, self._own_listeners[type(event)], event)

    def hear(self, event: CityEvent) -> None:
        """It happened in another process of the city."""
        notify_all(type(event).__name__, self._listeners[type(event)], event)
