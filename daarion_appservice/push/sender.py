"""Sends pushes for the messages that this process stored: each message is stored by one process, so each push is sent once.

    message, or edit with a new mention ─► 2 s ─► unread? (notices) ─► queue ─► senders ─► push service
                                                                                      └─► failures and subscriptions that are gone

Pushes are sent at most once or, after a failure, twice. They are lost when the process ends, and dropped when a queue is full.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final, Protocol, TypeVar

import structlog

from ..city.citizen_pairs import is_chat_id
from ..city.events import MessagePosted, RoomEventStored
from ..city.ports import NowMs
from ..city.types import MessageId
from ..errors import DatabaseError
from ..storage.database import Database
from .client import Push, PushResult
from .metrics import PUSHES, PushOutcome
from .notices import PushNotices, may_notify

_DELAY_S: Final = 2.0
"""How long a page that is open has to mark a message as read."""
_RETRY_S: Final = 5.0
_MAX_AGE_MS: Final = 600_000
"""Older messages come from the history of a Matrix room, and notify nobody."""
_MAX_WAITING: Final = 1_000
_SENDERS: Final = 16
_MAX_REMEMBERED: Final = 10_000
"""The number of pushes that are not repeated when the mentions of their message change by edits."""

log = structlog.get_logger()

_T = TypeVar("_T")


class Client(Protocol):
    """Sends pushes to push services."""

    async def send(self, push: Push) -> PushResult: ...


class PushSender:
    """Sends pushes in the background."""

    def __init__(
        self,
        database: Database,
        notices: PushNotices,
        client: Client,
        now_ms: NowMs,
        *,
        delay_s: float = _DELAY_S,
        retry_s: float = _RETRY_S,
    ) -> None:
        self._database = database
        self._notices = notices
        self._client = client
        self._now_ms = now_ms
        self._delay_s = delay_s
        self._retry_s = retry_s
        self._messages: asyncio.Queue[tuple[float, MessagePosted]] = asyncio.Queue(_MAX_WAITING)
        self._pushes: asyncio.Queue[Push] = asyncio.Queue(_MAX_WAITING)
        self._sent: OrderedDict[tuple[MessageId, str], None] = OrderedDict()
        """The last messages and the endpoints to which they were pushed, the oldest push first."""

    def on_message_posted(self, posted: MessagePosted) -> None:
        """Send pushes for a message that this process stored."""
        self._add(posted, posted.message.created_at_ms)

    def on_room_event(self, stored: RoomEventStored) -> None:
        """Send pushes to the people whom a message mentions since an edit that this process stored."""
        event = stored.event
        # In a direct chat, the message was pushed to the other citizen when it was posted.
        if event.message is not None and not is_chat_id(event.room_id):
            self._add(MessagePosted(event.message, stored.mentioned), event.at_ms)

    def _add(self, posted: MessagePosted, at_ms: int) -> None:
        if not may_notify(posted) or self._now_ms() - at_ms > _MAX_AGE_MS:
            return
        due_s = asyncio.get_running_loop().time() + self._delay_s
        _put(self._messages, (due_s, posted))

    async def run(self) -> None:
        """Send pushes until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._find())
            for _ in range(_SENDERS):
                group.create_task(self._send())

    async def _find(self) -> None:
        while True:
            due_s, posted = await self._messages.get()
            await asyncio.sleep(due_s - asyncio.get_running_loop().time())
            try:
                pushes = await self._notices.of(posted)
            except DatabaseError as error:
                PUSHES.labels(PushOutcome.DROPPED).inc()
                log.debug("push_dropped", error=str(error))
                continue
            for push in pushes:
                if self._is_first(posted.message.id, push):
                    _put(self._pushes, push)

    def _is_first(self, message: MessageId, push: Push) -> bool:
        """Note a push; return False if an earlier version of the message was pushed to the same browser."""
        key = (message, push.subscription.endpoint)
        if key in self._sent:
            return False
        self._sent[key] = None
        if len(self._sent) > _MAX_REMEMBERED:
            self._sent.popitem(last=False)
        return True

    async def _send(self) -> None:
        while True:
            push = await self._pushes.get()
            result = await self._client.send(push)
            if result is PushResult.UNAVAILABLE:
                await asyncio.sleep(self._retry_s)
                result = await self._client.send(push)
            try:
                await self._record(push, result)
            except DatabaseError as error:
                log.debug("push_not_recorded", error=str(error))

    async def _record(self, push: Push, result: PushResult) -> None:
        endpoint = push.subscription.endpoint
        if result is PushResult.ACCEPTED:
            PUSHES.labels(PushOutcome.SENT).inc()
            if push.subscription.failures:
                async with self._database.transaction() as tx:
                    await tx.push_subscriptions.record_success(endpoint)
            return
        async with self._database.transaction() as tx:
            is_removed = await tx.push_subscriptions.record_failure(endpoint, is_gone=result is PushResult.GONE)
        PUSHES.labels(PushOutcome.REMOVED if is_removed else PushOutcome.FAILED).inc()


def _put(queue: asyncio.Queue[_T], item: _T) -> None:
    try:
        queue.put_nowait(item)
    except asyncio.QueueFull:
        PUSHES.labels(PushOutcome.DROPPED).inc()
        log.debug("push_dropped", error="the queue is full")
