"""Asks the agents core for pending replies and posts them: one reply to each request, also after a crash.

    pending ─► is the agent online? ─no─► a notice about that
                 └─yes─► typing ─► the agents core, with the conversation ─► a message that grows by edits ─► posted
                                       └─ busy: later;  broken or too slow: a notice about that

The reply is posted under a ``client_id`` of its own, and its row is completed in the same transaction that stores the
replies that it requests from other agents. If the process ends in between and the reply is generated again, the same
message is therefore edited. The reason for a failure is stored before the notice is posted, so that a restarted process
posts the notice and does not ask the core again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import structlog

from ..city.accounts import Accounts
from ..city.agent_replies import AgentReplies
from ..city.agents import AgentDirectory
from ..city.events import RepliesPending, RoomEventStored
from ..city.message_edits import MessageEdits
from ..city.message_size import truncate_body
from ..city.messages import Draft, Messages
from ..city.parsing_threads import parsed_ahead, prose_ahead
from ..city.pending_replies import AnswerId, PendingReply, ReplyFailure
from ..city.ports import NowMs, PresenceStore, Publish
from ..city.presence import Status
from ..city.types import Author, AuthorKind, MatrixStatus, Message, MessageId, RoomId, UserId, agent_subject
from ..errors import CircuitOpen, CityError, CoreBusy, CoreError, CoreTimeout, CoreUnreachable, DatabaseError
from ..realtime.worker import Worker
from ..storage.database import Database
from .cancellation import RequestDeleted, RequestEdited, cancel_on_change
from .conversation import question_of, read_conversation
from .core import AgentsCore
from .edit_throttle import EditThrottle
from .image_inputs import ImageInputs
from .pending_request import PendingRequest
from .second_me import AnotherRequestRunning, PromptTooLong, SecondMe
from .typing_notice import typing

_AT_ONCE: Final = 32
_BATCH: Final = 200
_LONGEST_WAIT_S: Final = 2.0
"""Longest time between two reads of the pending replies, in seconds, even if no event wakes the worker."""
_DATABASE_RETRY_S: Final = 1.0
_BUSY_RETRY_MS: Final = 5_000
_NOT_HERE_RETRY_MS: Final = 1_000
_GIVE_UP_MS: Final = 120_000
"""How long a request waits for a busy core, in ms."""
_MAX_RESTARTS: Final = 5
"""How many times a request that is edited during its reply is sent again."""

log = structlog.get_logger()


class OthersPresent(Exception):
    """Other members of the room would read a reply that only the author of the request may read."""


class ReplyWorker:
    """Works on the pending replies of all agents.

    Args:
        patience_ms: time after the start during which an offline agent may still come online before a notice is posted.
    """

    def __init__(
        self,
        core: AgentsCore,
        second_me: SecondMe,
        accounts: Accounts,
        database: Database,
        agents: AgentDirectory,
        presence: PresenceStore,
        messages: Messages,
        changes: MessageEdits,
        answers: AgentReplies,
        pictures: ImageInputs,
        publish: Publish,
        now_ms: NowMs,
        *,
        patience_ms: int,
    ) -> None:
        self._core = core
        self._second_me = second_me
        self._accounts = accounts
        self._database = database
        self._agents = agents
        self._presence = presence
        self._messages = messages
        self._changes = changes
        self._answers = answers
        self._pictures = pictures
        self._publish = publish
        self._now_ms = now_ms
        self._patient_until_ms = now_ms() + patience_ms
        self._worker = Worker("reply_worker", idle_s=_LONGEST_WAIT_S)
        self._watched: dict[AnswerId, tuple[MessageId, asyncio.Event]] = {}
        """Requests whose replies are being generated, with an event that is set when the request changes."""
        self._restarts: dict[AnswerId, int] = {}
        self._busy: set[tuple[RoomId, str]] = set()
        """Rooms and agents with a running reply: an agent replies to the requests of a room one at a time, in order."""

    def wake(self) -> None:
        """Look for new pending replies."""
        self._worker.wake()

    def happened(self, happened: RoomEventStored) -> None:
        """Notice a change of a message that may be a request."""
        message = happened.event.message
        for question, changed in self._watched.values():
            if message is not None and message.id == question:
                changed.set()

    async def run(self) -> None:
        """Process pending replies until cancelled. Can be run again."""
        self._busy.clear()
        async with asyncio.TaskGroup() as tasks:
            await self._worker.run(partial(self._begin, tasks))

    async def _begin(self, tasks: asyncio.TaskGroup) -> None:
        """Start a task for each pending reply whose agent is not busy in its room."""
        async with self._database.reading() as tx:
            owed = await tx.agent_replies.pending(now_ms=self._now_ms(), limit=_BATCH)
        for each in owed:
            place = (each.room_id, each.agent)
            if len(self._busy) >= _AT_ONCE:
                return
            if place not in self._busy:
                self._busy.add(place)
                tasks.create_task(self._answer(each))

    async def _answer(self, owed: PendingReply) -> None:
        try:
            await self._answer_or_drop(owed)
        except DatabaseError as error:
            log.error("replies_unavailable", error=str(error), help="the database does not answer; trying again")
            await asyncio.sleep(_DATABASE_RETRY_S)
        finally:
            self._busy.discard((owed.room_id, owed.agent))
            self._worker.wake()

    async def _answer_or_drop(self, owed: PendingReply) -> None:
        try:
            await self._answer_if_asked(owed)
        except DatabaseError:
            raise
        except CityError as error:
            # The agent may not post in the room, or the room is archived or deleted, so no notice can be posted.
            log.info("reply_abandoned", agent=owed.agent, room=owed.room_id, error=error.detail)
            await self._drop(owed)
        except Exception:
            log.exception("reply_failed", agent=owed.agent, room=owed.room_id)
            await self._drop(owed)

    async def _answer_if_asked(self, owed: PendingReply) -> None:
        asked = await self._read(owed)
        if asked is None:
            await self._withdraw(owed)
        elif asked.reply.failure is not None:
            await self._say_why(asked, asked.reply.failure)
        elif asked.is_second_me and asked.others_listen:
            await self._excuse(asked, ReplyFailure.PRIVATE)
        elif asked.is_second_me and asked.room.matrix_status is not MatrixStatus.LINKED:
            await self._put_off(owed, "it is not known yet who listens", self._now_ms() + _NOT_HERE_RETRY_MS)
        elif asked.is_forget:
            await self._forget(asked)
        elif self._presence.state(agent_subject(owed.agent)).status is not Status.OFFLINE:
            await self._ask_core(asked)
        elif self._now_ms() < self._patient_until_ms:
            await self._put_off(owed, "not here yet", self._now_ms() + _NOT_HERE_RETRY_MS)
        else:
            await self._excuse(asked, ReplyFailure.OFFLINE)

    async def _read(self, owed: PendingReply) -> PendingRequest | None:
        """Read the request and its conversation; return None if no reply is wanted any more."""
        agent = self._agents.get(owed.agent)
        async with self._database.reading() as tx:
            # The reply may have been given since the list of pending replies was read.
            now = await tx.agent_replies.still_pending(owed.id)
            message, room = await tx.messages.get(owed.request_id), await tx.rooms.get(owed.room_id)
            if now is None or agent is None or message is None or message.deleted or room is None:
                return None
            conversation = await read_conversation(tx, agent, room, message)
        return PendingRequest(now, agent, room, message, conversation)

    async def _ask_core(self, asked: PendingRequest) -> None:
        try:
            async with typing(self._publish, asked.room.id, asked.author):
                message = await self._grow_unless_changed(asked)
        except RequestDeleted:
            await self._withdraw(asked.reply)
        except RequestEdited:
            # The reply stays pending; the request is read again at once.
            log.info("request_edited", agent=asked.reply.agent, room=asked.room.id)
        except (CoreBusy, CircuitOpen) as error:
            await self._later(asked, error, after_s=error.retry_after_s or 0)
        except AnotherRequestRunning as error:
            await self._later(asked, error)
        except PromptTooLong:
            await self._excuse(asked, ReplyFailure.TOO_LONG)
        except OthersPresent:
            await self._excuse(asked, ReplyFailure.PRIVATE)
        except CoreUnreachable:
            await self._excuse(asked, ReplyFailure.FAILED)
        except CoreError as error:
            await self._excuse(asked, ReplyFailure.SLOW if isinstance(error, CoreTimeout) else ReplyFailure.FAILED)
        else:
            await self._given(asked, message)

    async def _forget(self, asked: PendingRequest) -> None:
        """Delete Second Me's memory of the author, of the account and of the citizen linked with it; post a notice."""
        author = asked.message.author.subject
        subjects = {author, await self._accounts.subject_of(UserId(asked.message.author.id))}
        async with self._database.transaction() as tx:
            # The failure is stored in the same transaction, so that a crash repeats only the notice and not the
            # deletion.
            is_owed = await tx.agent_replies.will_not_be(asked.reply.id, ReplyFailure.FORGOTTEN)
            for subject in subjects if is_owed else ():
                await tx.interactions.forget(subject)
        if is_owed:
            await self._say_why(asked, ReplyFailure.FORGOTTEN)

    async def _later(self, asked: PendingRequest, error: CityError, *, after_s: float = 0) -> None:
        now_ms = self._now_ms()
        if now_ms - asked.reply.requested_at_ms > _GIVE_UP_MS:
            await self._excuse(asked, ReplyFailure.BUSY)
        else:
            retry_at_ms = now_ms + int(after_s * 1000) + _BUSY_RETRY_MS
            await self._put_off(asked.reply, error.detail, retry_at_ms)

    async def _grow_unless_changed(self, asked: PendingRequest) -> Message:
        """Post the reply. Raise RequestDeleted or RequestEdited if its request changes meanwhile."""
        changed = asyncio.Event()
        self._watched[asked.reply.id] = asked.message.id, changed
        try:
            return await cancel_on_change(self._grow(asked), changed, partial(self._check_question, asked))
        finally:
            del self._watched[asked.reply.id]

    async def _check_question(self, asked: PendingRequest) -> None:
        try:
            async with self._database.reading() as tx:
                message = await tx.messages.get(asked.message.id)
                is_asked = message is not None and asked.reply.agent in await self._answers.requested_agents(
                    tx, asked.room, message
                )
        except DatabaseError as error:
            log.error("replies_unavailable", error=str(error), help="the database does not answer; trying again")
            return
        if message is None or message.deleted:
            raise RequestDeleted
        if message.body == asked.message.body and message.media == asked.message.media:
            return
        if not is_asked:
            raise RequestDeleted
        restarts = self._restarts.get(asked.reply.id, 0)
        if restarts < _MAX_RESTARTS:
            self._restarts[asked.reply.id] = restarts + 1
            raise RequestEdited

    async def _grow(self, asked: PendingRequest) -> Message:
        """Post the reply, at once or by growing edits; return the message in its final state."""
        growing = EditThrottle(asyncio.get_running_loop().time)
        text, message = "", None
        async with self._pieces(asked) as pieces:
            async for piece in pieces:
                text += piece
                if text.strip() and growing.is_due():
                    message = await self._show(asked, text, message)
        return await self._show(asked, text, message)

    @asynccontextmanager
    async def _pieces(self, asked: PendingRequest) -> AsyncIterator[AsyncIterator[str]]:
        question = question_of(asked.agent, asked.room, asked.message, asked.conversation)
        if not asked.is_second_me:
            async with self._core.answer(await self._pictures.put_in(question)) as pieces:
                yield pieces
        elif known := await self._second_me.answered(asked.reply.id):
            # Second Me had replied and stored it, but the process ended before the message was posted.
            yield _at_once(known.response)
        else:
            who = await self._accounts.subject_of(UserId(asked.message.author.id))
            question = await self._pictures.put_in(question)
            async with self._second_me.ask(who, question.input, interaction=asked.reply.id, asked=question) as answer:
                yield answer

    async def _show(self, asked: PendingRequest, text: str, shown: Message | None) -> Message:
        text = truncate_body(text)
        if asked.is_second_me:
            await self._check_alone(asked)
        if shown is None:
            draft = Draft(text, reply_to=asked.message.id, client_id=_client_id(asked.reply))
            posted = await self._messages.post(asked.author, asked.room.id, draft, requests_replies=False)
            if posted.is_new:
                return posted.message
            shown = posted.message
        return await self._changes.edit(asked.author, asked.room.id, shown.id, text)

    async def _check_alone(self, asked: PendingRequest) -> None:
        """Raise OthersPresent if another user has joined the chat since the request."""
        async with self._database.reading() as tx:
            room = await tx.rooms.get(asked.room.id)
        if room is None or room.is_group:
            raise OthersPresent

    async def _excuse(self, asked: PendingRequest, why: ReplyFailure) -> None:
        async with self._database.transaction() as tx:
            is_owed = await tx.agent_replies.will_not_be(asked.reply.id, why)
        if is_owed:
            await self._say_why(asked, why)

    async def _say_why(self, asked: PendingRequest, why: ReplyFailure) -> None:
        """Post a notice with the reason for the missing reply, and delete the partial reply."""
        async with self._database.reading() as tx:
            begun = await tx.messages.by_client_id(asked.author, asked.room.id, _client_id(asked.reply))
            question = await tx.messages.get(asked.message.id)
        if question is None or question.deleted:
            await self._withdraw(asked.reply)
            return
        if begun is not None and not begun.deleted:
            await self._changes.delete(asked.author, asked.room.id, begun.id, may_moderate=False)
        client_id = f"{_client_id(asked.reply)}:excuse"
        draft = Draft(asked.failure_text(why), msgtype="m.notice", reply_to=asked.message.id, client_id=client_id)
        posted = await self._messages.post(asked.author, asked.room.id, draft)
        async with self._database.transaction() as tx:
            await tx.agent_replies.mark_posted(asked.reply.id, posted.message.id)

    async def _given(self, asked: PendingRequest, message: Message) -> None:
        texts = prose_ahead(message.body)
        async with parsed_ahead(texts), self._database.transaction() as tx:
            owed: list[PendingReply] = []
            question = await tx.messages.get(asked.message.id)
            is_deleted = question is None or question.deleted
            if not is_deleted and await tx.agent_replies.mark_posted(asked.reply.id, message.id):
                owed = await self._answers.add(tx, asked.room, message, depth=asked.reply.depth + 1)
        self._restarts.pop(asked.reply.id, None)
        if is_deleted:
            await self._withdraw(asked.reply)
        if owed:
            self._publish(RepliesPending())

    async def _withdraw(self, owed: PendingReply) -> None:
        """Drop a pending reply without a notice, and delete the partial reply."""
        author = Author(AuthorKind.AGENT, owed.agent, owed.agent)
        async with self._database.reading() as tx:
            still_owed = await tx.agent_replies.still_pending(owed.id) is not None
            begun = await tx.messages.by_client_id(author, owed.room_id, _client_id(owed)) if still_owed else None
        if begun is not None and not begun.deleted:
            await self._changes.delete(author, owed.room_id, begun.id, may_moderate=False)
        self._restarts.pop(owed.id, None)
        await self._drop(owed)

    async def _drop(self, owed: PendingReply) -> None:
        async with self._database.transaction() as tx:
            await tx.agent_replies.drop(owed.id)

    async def _put_off(self, owed: PendingReply, why: str, retry_at_ms: int) -> None:
        async with self._database.transaction() as tx:
            await tx.agent_replies.put_off(owed.id, why, retry_at_ms=retry_at_ms)


async def _at_once(answer: str) -> AsyncIterator[str]:
    yield answer


def _client_id(owed: PendingReply) -> str:
    return f"answer:{owed.id}"
