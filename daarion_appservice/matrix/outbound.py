"""The city's outbox → the homeserver: in order within a room, each message once, as the ghost of its author.

Every room with something to send has a lane, a task that sends its messages one after the other; lanes do not wait for each
other. While the homeserver is away all wait. A message is tried again when that can help and given up when it cannot, so
that one that Matrix will never take does not hold up its room.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import groupby
from typing import Any, Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from ..city.agents import AgentDirectory
from ..city.ports import NowMs
from ..city.types import AgentSlug, Author, AuthorKind, Message, MessageId, Room, RoomId, UserId
from ..errors import HomeserverAway, HomeserverError, HomeserverRefused
from ..storage.database import Database
from ..storage.outbox import OutboxRow
from .event_handlers import MESSAGE_ID
from .ghosts import Ghosts, Profile, is_unregistered
from .homeserver import Homeserver
from .homeserver_watch import HomeserverWatch
from .namespace import Namespace

MAX_ATTEMPTS: Final = 8
_RETRY_MS: Final = 500
"""At once, then after this long, and about doubled each time: a message that Matrix will not take is given up after a minute.
While the homeserver takes nothing at all no try is counted."""
_BATCH: Final = 200
_UNLINKED_RETRY_MS: Final = 1_000
_AWAY_RETRY_MS: Final = 1_000
"""While the homeserver counts as gone, nothing is tried anyway."""
_REFUSED_RETRY_MS: Final = 10_000
_LIMITED_RETRY_MS: Final = 1_000
"""After a 429, which `rate_limited: false` keeps away."""
_DATABASE_RETRY_S: Final = 1.0
_LONGEST_WAIT_MS: Final = 2_000
"""How often to look even if nobody said that there is something: another process may have stored it, and could not say so."""

log = structlog.get_logger()


class Outbound:
    def __init__(
        self,
        database: Database,
        homeserver: Homeserver,
        watch: HomeserverWatch,
        ghosts: Ghosts,
        agents: AgentDirectory,
        namespace: Namespace,
        now_ms: NowMs,
        *,
        on_new_ghost: Callable[[UserId], None],
        on_spoke: Callable[[UserId], None],
    ) -> None:
        self._database = database
        self._homeserver = homeserver
        self._watch = watch
        self._ghosts = ghosts
        self._agents = agents
        self._namespace = namespace
        self._on_new_ghost = on_new_ghost
        self._on_spoke = on_spoke
        self._now_ms = now_ms
        self._wake = asyncio.Event()
        self._busy: set[RoomId] = set()
        self._held: dict[RoomId, int] = {}
        self._mended: set[MessageId] = set()
        """Messages whose ghost was registered or joined anew because of a refusal."""

    def wake(self) -> None:
        """There is something to send. Rooms that wait for something go on waiting."""
        self._wake.set()

    def resume(self) -> None:
        """A reason to wait may be gone: see whether it is."""
        self._held.clear()
        self._wake.set()

    async def run(self) -> None:
        """Send what waits, until cancelled. Can be run again."""
        async with asyncio.TaskGroup() as lanes:
            while True:
                self._wake.clear()
                await self._watch.wait_up()
                try:
                    await self._open_lanes(lanes)
                except (SQLAlchemyError, OSError) as error:
                    log.error("outbox_unavailable", error=str(error), help="the database does not answer; trying again")
                    await asyncio.sleep(_DATABASE_RETRY_S)
                    continue
                await self._sleep()

    async def _open_lanes(self, lanes: asyncio.TaskGroup) -> None:
        """A lane for every room that has something to send, unless it has one already or waits for something."""
        now_ms = self._now_ms()
        self._held = {room: until_ms for room, until_ms in self._held.items() if until_ms > now_ms}
        # Again and again: the first rows may all be of one room, and others must not wait for its end.
        while rows := await self._waiting():
            rows.sort(key=lambda row: (row.room_id, row.id))
            for room, waiting in groupby(rows, key=lambda row: row.room_id):
                self._busy.add(room)
                lanes.create_task(self._lane(room, list(waiting)))

    async def _waiting(self) -> list[OutboxRow]:
        async with self._database.reading() as tx:
            return await tx.outbox.waiting(limit=_BATCH, not_rooms=frozenset(self._busy | self._held.keys()))

    async def _sleep(self) -> None:
        due_ms = min(self._held.values(), default=None)
        wait_ms = _LONGEST_WAIT_MS if due_ms is None else min(_LONGEST_WAIT_MS, due_ms - self._now_ms())
        try:
            async with asyncio.timeout(max(0, wait_ms) / 1000):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _lane(self, room: RoomId, rows: list[OutboxRow]) -> None:
        try:
            for row in rows:
                retry_at_ms = await self._deliver(row)
                if retry_at_ms is not None:
                    self._held[room] = retry_at_ms
                    return
        except (SQLAlchemyError, OSError) as error:
            log.error("outbox_unavailable", error=str(error), help="the database does not answer; trying again")
            self._held[room] = self._now_ms() + int(_DATABASE_RETRY_S * 1000)
        except Exception:
            # Whatever it is, the other rooms go on; this one is tried again, and the log says what is the matter.
            log.exception("lane_failed", room=room)
            self._held[room] = self._now_ms() + _REFUSED_RETRY_MS
        finally:
            self._busy.discard(room)
            self._wake.set()

    async def _deliver(self, row: OutboxRow) -> int | None:
        """Get one message across, or give it up; returns when to try again if neither could be done now."""
        await self._watch.wait_up()
        if row.retry_at_ms > self._now_ms():
            return row.retry_at_ms
        async with self._database.reading() as tx:
            message, room = await tx.messages.get(row.message_id), await tx.rooms.find(row.room_id)
            replied_to = await tx.messages.get(message.reply_to) if message and message.reply_to else None
        if message is None or room is None or message.matrix_event_id:
            await self._settle(row.message_id)
            return None
        if room.matrix_room_id is None:
            return self._now_ms() + _UNLINKED_RETRY_MS
        try:
            event_id = await self._send(message, room, _content(message, replied_to), row.txn_id)
        except HomeserverAway as error:
            self._watch.lost(error)
            await self._watch.wait_up()
            return await self._try_again(row, room, error)
        except HomeserverRefused as error:
            return await self._refused(row, message, room, error)
        self._watch.expect_echo()
        self._on_spoke(self._namespace.author(message.author))
        async with self._database.transaction() as tx:
            await tx.messages.delivered(message.id, event_id)
            await tx.outbox.sent(message.id)
        self._mended.discard(message.id)
        return None

    async def _send(self, message: Message, room: Room, content: dict[str, Any], txn_id: str) -> Any:
        assert room.matrix_room_id is not None
        user = self._namespace.author(message.author)
        was_known = self._ghosts.is_known(user)
        await self._ghosts.ensure(user, self._profile(message.author))
        await self._ghosts.ensure_device(user)
        await self._ghosts.ensure_joined(user, room)
        if not was_known:
            self._on_new_ghost(user)
        return await self._homeserver.send(
            room.matrix_room_id,
            "m.room.message",
            txn_id,
            content,
            as_user=user,
            with_device=self._ghosts.has_device(user),
            ts_ms=message.created_at_ms,
        )

    def _profile(self, author: Author) -> Profile:
        """An agent looks like the registry says now, not as it did when it wrote; its picture is housekeeping's."""
        agent = self._agents.get(AgentSlug(author.id)) if author.kind is AuthorKind.AGENT else None
        return Profile(agent.display_name if agent else author.display_name)

    async def _refused(self, row: OutboxRow, message: Message, room: Room, error: HomeserverRefused) -> int | None:
        user = self._namespace.author(message.author)
        if error.status == 401:
            # Our token is not accepted: nobody's message can go, and this one is not to blame.
            log.error("token_refused", error=str(error), help="see `daarion-appservice registration check`")
            return self._now_ms() + _REFUSED_RETRY_MS
        if error.status == 429:
            return self._now_ms() + _LIMITED_RETRY_MS
        if error.status >= 500:
            return await self._try_again(row, room, error)
        if is_unregistered(error):
            await self._ghosts.forget(user)
        if error.status == 403:
            await self._ghosts.not_joined(user, room)
        # Registering and joining anew mends most of these; once is enough to know.
        if error.status == 403 and row.message_id not in self._mended:
            self._mended.add(row.message_id)
            return await self._count(row, error, retry=True)
        self._mended.discard(row.message_id)
        return await self._count(row, error, retry=False)

    async def _try_again(self, row: OutboxRow, room: Room, error: HomeserverError) -> int | None:
        """Something went wrong that is not the message's fault, unless everything else works and it goes wrong each time."""
        try:
            assert room.matrix_room_id is not None
            await self._homeserver.joined_members(room.matrix_room_id, as_user=self._namespace.bot)
        except HomeserverAway:
            return self._now_ms() + _AWAY_RETRY_MS
        except HomeserverRefused:
            return self._now_ms() + _REFUSED_RETRY_MS
        return await self._count(row, error, retry=True)

    async def _count(self, row: OutboxRow, error: HomeserverError, *, retry: bool) -> int | None:
        """One try more that failed; returns when the next is due, or None when there will be none."""
        attempts = row.attempts + 1
        retry_at_ms = (
            self._now_ms() + _RETRY_MS * (2 ** (attempts - 1) - 1) if retry and attempts < MAX_ATTEMPTS else None
        )
        async with self._database.transaction() as tx:
            await tx.outbox.failed(row.message_id, str(error), retry_at_ms=retry_at_ms)
            if retry_at_ms is None:
                await tx.messages.not_delivered(row.message_id)
        level = log.error if retry_at_ms is None else log.warning
        level("message_not_sent", message_id=row.message_id, error=str(error), given_up=retry_at_ms is None)
        return retry_at_ms

    async def _settle(self, message: MessageId) -> None:
        async with self._database.transaction() as tx:
            await tx.outbox.sent(message)


def _content(message: Message, replied_to: Message | None) -> dict[str, Any]:
    content: dict[str, Any] = {
        "msgtype": message.msgtype,
        "body": message.body,
        MESSAGE_ID: message.id,
        "m.mentions": {},
    }
    if replied_to is not None and replied_to.matrix_event_id is not None:
        content["m.relates_to"] = {"m.in_reply_to": {"event_id": replied_to.matrix_event_id}}
    return content
