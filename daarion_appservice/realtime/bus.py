"""Publishes city events to listeners in this process, right after the events are stored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any, TypeVar

from ..city.events import CityEvent
from .listeners import notify_all

E = TypeVar("E", bound=CityEvent)


class Bus:
    """A synchronous publisher. Listeners are plain functions that return at once: they set a flag or wake a task.

    An exception in a listener is logged and counted (``listeners.notify_all``); the publisher never gets it.
    """

    def __init__(self) -> None:
        self._listeners: defaultdict[type[Any], list[Callable[[Any], None]]] = defaultdict(list)
        self._own_listeners: defaultdict[type[Any], list[Callable[[Any], None]]] = defaultdict(list)

    def subscribe(self, kind: type[E], listener: Callable[[E], None]) -> None:
        self._listeners[kind].append(listener)

    def subscribe_local(self, kind: type[E], listener: Callable[[E], None]) -> None:
        """Subscribe to events that this process publishes, without those from other processes."""
        self._own_listeners[kind].append(listener)

    def publish(self, event: CityEvent) -> None:
        """Publish an event of this process."""
        self.publish_remote(event)
        notify_all(type(event).__name__, self._own_listeners[type(event)], event)

    def publish_remote(self, event: CityEvent) -> None:
        """Publish an event of another process of the city."""
        notify_all(type(event).__name__, self._listeners[type(event)], event)
