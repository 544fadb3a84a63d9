"""Requests of the client-server API about events of a room: sending, redaction, receipts and history."""

from __future__ import annotations

from typing import Final

import orjson
from mautrix.api import Method, Path

from ...city.types import EventId, MatrixRoomId, UserId
from ...json_encoding import JSON
from .transport import CLIENT_V1, HomeserverTransport
from .user_requests import CITY_DEVICE

_MAX_EDITS: Final = 500
"""The maximum number of edits of one event that are requested; a person makes fewer by hand."""
MAIN_TIMELINE: Final = "main"
"""The ``thread_id`` of receipts for events outside of threads."""


class EventRequests(HomeserverTransport):
    """Sends and redacts events, and reads single events and the history of a room."""

    async def event(self, room: MatrixRoomId, event: EventId, *, as_user: UserId) -> JSON | None:
        """Return an event in the client format, or None if it does not exist or ``as_user`` may not read it."""
        return await self.find_object(Path.v3.rooms[room].event[event], as_user=as_user)

    async def send(
        self,
        room: MatrixRoomId,
        event_type: str,
        txn_id: str,
        content: JSON,
        *,
        as_user: UserId,
        with_device: bool,
        ts_ms: int | None = None,
    ) -> EventId:
        """Send an event. A repeated request of the same user with the same ``txn_id`` returns the same event id.

        Args:
            with_device: send the event with the ghost's device, so that Synapse stores the ``txn_id`` across restarts.
            ts_ms: ``origin_server_ts``, in milliseconds since 1970; None for the current time.
        """
        path = Path.v3.rooms[room].send[event_type][txn_id]
        query = ({} if ts_ms is None else {"ts": str(ts_ms)}) | _device_query(with_device)
        response = await self.request_object(Method.PUT, path, content, as_user=as_user, query=query)
        return EventId(self._required_text(response, "event_id"))

    async def redact(
        self, room: MatrixRoomId, event: EventId, txn_id: str, *, as_user: UserId, with_device: bool
    ) -> EventId:
        """Redact an event. A repeated request of the same user with the same ``txn_id`` returns the same event id."""
        path = Path.v3.rooms[room].redact[event][txn_id]
        response = await self.request_object(Method.PUT, path, {}, as_user=as_user, query=_device_query(with_device))
        return EventId(self._required_text(response, "event_id"))

    async def send_receipt(self, room: MatrixRoomId, event: EventId, *, thread: str, as_user: UserId) -> None:
        """Send a read receipt of ``as_user`` for an event of a thread, given by its root, or of `MAIN_TIMELINE`."""
        path = Path.v3.rooms[room].receipt["m.read"][event]
        await self.request(Method.POST, path, {"thread_id": thread}, as_user=as_user)

    # --- history --------------------------------------------------------------------------------------

    async def edits(self, room: MatrixRoomId, event: EventId, *, by: UserId, as_user: UserId) -> list[EventId]:
        """Return the latest unredacted edits (``m.replace``) of an event by the user ``by``, if the event exists."""
        path = CLIENT_V1.rooms[room].relations[event]["m.replace"]
        response = await self.find_object(path, as_user=as_user, query={"limit": str(_MAX_EDITS)})
        if response is None:
            return []
        relations = self._required_list(response, "chunk")
        edits = [edit for edit in relations if isinstance(edit, dict) and edit.get("sender") == by]
        return [EventId(self._required_text(edit, "event_id")) for edit in edits]

    async def messages_before(
        self, room: MatrixRoomId, cursor: str | None, *, limit: int, as_user: UserId, until: str | None = None
    ) -> tuple[list[JSON], str | None]:
        """Return a page of history, newest event first.

        Args:
            cursor: the cursor that the previous page returned; None begins at the newest event.
            until: a token of ``/sync``; events before that sync are left out.

        Returns:
            The events, and the cursor to the page of older events, or None if there are none.
        """
        return await self._messages(room, {"dir": "b"} | ({"to": until} if until else {}), cursor, limit, as_user)

    async def events_by(
        self, room: MatrixRoomId, sender: UserId, cursor: str | None, *, limit: int, as_user: UserId
    ) -> tuple[list[JSON], str | None]:
        """Return a page of the events of one sender, state events included, newest first, and the cursor to the next page.

        A page may be empty though there are more events.
        """
        event_filter = orjson.dumps({"senders": [sender]}).decode()
        return await self._messages(room, {"dir": "b", "filter": event_filter}, cursor, limit, as_user)

    async def messages_after(
        self, room: MatrixRoomId, cursor: str | None, *, limit: int, as_user: UserId
    ) -> tuple[list[JSON], str | None]:
        """Return a page of history, oldest event first, and the cursor to the next page.

        Without a cursor the page begins at the room's first event.
        """
        return await self._messages(room, {"dir": "f"}, cursor, limit, as_user)

    async def _messages(
        self, room: MatrixRoomId, query: dict[str, str], cursor: str | None, limit: int, as_user: UserId
    ) -> tuple[list[JSON], str | None]:
        query |= {"limit": str(limit)} | ({"from": cursor} if cursor else {})
        response = await self.request_object(Method.GET, Path.v3.rooms[room].messages, as_user=as_user, query=query)
        end = response.get("end")
        events = [event for event in self._required_list(response, "chunk") if isinstance(event, dict)]
        return events, end if isinstance(end, str) else None


def _device_query(with_device: bool) -> dict[str, str]:
    return {"device_id": CITY_DEVICE} if with_device else {}
