"""Receipts of direct chats: asks as a ghost of the chat while a linked person has unread messages there.

    chats of linked accounts with unread messages ─► one ghost of each ─► `/sync` without waiting, one after the other ─► receipts

The observer is in no direct chat, because its members would see it. A ghost is. It does not wait for news as the observer does:
Synapse wakes a waiting ``/sync`` with each message in any room of the ghost, and agents are in many (measured with Synapse
1.163: 9 ms of processor time for each message, against 2 to 15 ms for a request that does not wait). So this task asks
while something is unread, often at first and then ever more rarely (``chat_polls``), with one request at a time.

The first request for a ghost is an initial sync, which has the receipts from before a restart (1.2 ms for each room of the
ghost). The later ones continue from its token, even days later: a message that arrives meanwhile cannot have an earlier
receipt. The filter names no rooms, so a token holds for chats that become unread later, too.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

import structlog

from ...city.citizen_pairs import is_chat_id
from ...city.events import LocalUserRead, MessagePosted, ReceiptsChanged
from ...city.identity import Identities
from ...city.ports import NowMs
from ...city.types import MatrixRoomId, RoomId, UserId
from ...errors import HomeserverRateLimited, HomeserverRefused, HomeserverUnavailable
from ...realtime.isolation import isolated
from ...realtime.worker import Worker
from ...storage.database import Database
from ..client.homeserver import Homeserver
from ..client.monitor import HomeserverMonitor
from ..client.refusals import is_transient
from .chat_polls import LONGEST_MS, ChatPolls, newest_by_ghost
from .metrics import CHAT_POLLS, GHOSTS_ASKING, ChatPollResult
from .receipts import RECEIPT_FILTER, RemoteReceipts
from .sync_response import joined_rooms

_READ_EVERY_S: Final = 30.0
"""The longest time between two reads of the unread chats: read marks are stored later than their event is published."""
_SETTLE_S: Final = 1.0
"""The shortest time between two reads, however many messages arrive."""
_REFUSED_PAUSE_S: Final = 10.0
_REFUSED_DELAY_MS: Final = 60_000
"""How much later a ghost asks again whose request was refused."""
_MAX_TOKENS: Final = 10_000

log = structlog.get_logger()


class ChatReceipts:
    """Asks for the receipts of linked persons in direct chats."""

    def __init__(
        self,
        homeserver: Homeserver,
        monitor: HomeserverMonitor,
        database: Database,
        identities: Identities,
        receipts: RemoteReceipts,
        now_ms: NowMs,
    ) -> None:
        self._homeserver = homeserver
        self._database = database
        self._identities = identities
        self._receipts = receipts
        self._now_ms = now_ms
        self._polls = ChatPolls()
        self._tokens: OrderedDict[UserId, str] = OrderedDict()
        """The ``next_batch`` of each ghost, the last used one last."""
        self._refused: set[UserId] = set()
        self._is_stale = True
        self._read_at_s = float("-inf")
        """When the unread chats were read, on the event loop's clock."""
        self._worker = Worker("chat_receipts", idle_s=None, monitor=monitor)

    def on_message_posted(self, posted: MessagePosted) -> None:
        self._look_again(posted.message.room_id)

    def on_local_read(self, event: LocalUserRead) -> None:
        self._look_again(event.room_id)

    def on_receipts_changed(self, change: ReceiptsChanged) -> None:
        self._look_again(change.room_id)

    def on_links_changed(self) -> None:
        """Begin with initial syncs: the receipts of a person who is linked now were left out before."""
        # Another object: a request that is not answered yet was made before, and must not leave its token.
        self._tokens = OrderedDict()
        self.wake()

    def wake(self) -> None:
        """Read the unread chats soon."""
        self._is_stale = True
        self._worker.wake()

    def _look_again(self, room: RoomId) -> None:
        if is_chat_id(room) and not self._is_stale:
            self.wake()

    async def run(self) -> None:
        """Ask until cancelled. The method can be called again; each ghost then begins with an initial sync."""
        self._tokens.clear()
        self._is_stale, self._read_at_s = True, float("-inf")
        try:
            await self._worker.run(self._step)
        finally:
            GHOSTS_ASKING.set(0)

    async def _step(self) -> float:
        """Make the poll that is due, if there is one; return the seconds until the next step."""
        until_read_s = await self._read_unread()
        due = self._polls.next()
        if due is None:
            return until_read_s
        until_poll_s = (due.at_ms - self._now_ms()) / 1000
        if until_poll_s <= 0:
            await self._poll(due.ghost)
            return 0.0
        return min(until_poll_s, until_read_s)

    async def _read_unread(self) -> float:
        """Read the unread chats if that is due; return the seconds until the next time."""
        loop = asyncio.get_running_loop()
        due_s = self._read_at_s + (_SETTLE_S if self._is_stale else _READ_EVERY_S)
        if loop.time() < due_s:
            return due_s - loop.time()
        self._is_stale, self._read_at_s = False, loop.time()
        try:
            async with self._database.read_only() as tx:
                chats = await tx.chat_receipts.unread(since_ms=self._now_ms() - LONGEST_MS)
                joined = await tx.chat_receipts.joined_users([chat.room for chat in chats if chat.agent is None])
        except Exception:
            self._is_stale = True
            raise
        self._polls.set_unread(newest_by_ghost(chats, joined, self._identities))
        self._refused &= self._polls.ghosts
        GHOSTS_ASKING.set(len(self._polls.ghosts))
        return _SETTLE_S if self._is_stale else _READ_EVERY_S

    async def _poll(self, ghost: UserId) -> None:
        # Before the request: if it fails, the other ghosts come first.
        self._polls.begin(ghost, self._now_ms())
        tokens, token = self._tokens, None
        try:
            with isolated("chat_receipts", ghost):
                token = await self._sync(ghost, tokens.get(ghost))
        except HomeserverUnavailable:
            CHAT_POLLS.labels(ChatPollResult.FAILED).inc()
            raise
        except HomeserverRefused as error:
            CHAT_POLLS.labels(ChatPollResult.REFUSED).inc()
            await self._take_refusal(ghost, error)
            return
        if tokens is self._tokens:
            self._remember(ghost, token)

    async def _sync(self, ghost: UserId, since: str | None) -> str:
        response = await self._homeserver.sync(since=since, filter_json=RECEIPT_FILTER, timeout_ms=0, as_user=ghost)
        has_receipts = await self._apply(ghost, response)
        CHAT_POLLS.labels(ChatPollResult.RECEIPTS if has_receipts else ChatPollResult.NOTHING).inc()
        return str(response["next_batch"])

    async def _apply(self, ghost: UserId, response: Mapping[str, Any]) -> bool:
        """Take the receipts of chats of linked persons; return whether there were such chats in the response."""
        names = [MatrixRoomId(room) for room, _ in joined_rooms(response)]
        if not names:
            return False
        async with self._database.read_only() as tx:
            chats = await tx.chat_receipts.observable(names)
        await self._receipts.apply_sync(response, chats, observer=ghost)
        return bool(chats)

    def _remember(self, ghost: UserId, token: str | None) -> None:
        """Store the token of a ghost; without one, after an error that `isolated` has logged, the next sync is an initial one."""
        self._tokens.pop(ghost, None)
        if token is None:
            return
        self._tokens[ghost] = token
        if len(self._tokens) > _MAX_TOKENS:
            self._tokens.popitem(last=False)
        if ghost in self._refused:
            self._refused.discard(ghost)
            log.info("chat_receipts_back", ghost=ghost)

    async def _take_refusal(self, ghost: UserId, error: HomeserverRefused) -> None:
        if ghost not in self._refused:
            self._refused.add(ghost)
            log.warning(
                "chat_receipts_refused",
                ghost=ghost,
                error=str(error),
                help="what people read in their chats with this ghost in a Matrix client stays unread in the pages; "
                "trying again",
            )
        if not is_transient(error):
            self._tokens.pop(ghost, None)
            self._polls.begin(ghost, self._now_ms(), delay_ms=_REFUSED_DELAY_MS)
        elif isinstance(error, HomeserverRateLimited):
            await asyncio.sleep(error.retry_after_ms / 1000)
        else:
            await asyncio.sleep(_REFUSED_PAUSE_S)
