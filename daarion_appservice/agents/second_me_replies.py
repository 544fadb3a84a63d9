"""Replies of Second Me in direct chats: from the private memory of the author, so nobody else may read them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..city.accounts import Accounts
from ..city.pending_replies import ReplyFailure
from ..city.types import MatrixStatus, SubjectId, UserId
from ..storage.database import Database
from .forget_command import is_forget
from .image_inputs import ImageInputs
from .pending_request import PendingRequest
from .reply_kinds import CannotReply, NotReady
from .second_me import PromptTooLong, SecondMe


class SecondMeReplies:
    """A `ReplyKind`: replies of Second Me to Matrix users."""

    def __init__(self, second_me: SecondMe, accounts: Accounts, images: ImageInputs, database: Database) -> None:
        self._second_me = second_me
        self._accounts = accounts
        self._images = images
        self._database = database

    async def check(self, request: PendingRequest) -> None:
        if request.has_other_readers:
            raise CannotReply(ReplyFailure.PRIVATE)
        if request.room.matrix_status is not MatrixStatus.LINKED:
            raise NotReady("the members of the chat are not known yet")
        if is_forget(request.message):
            await self._forget(request)
            raise CannotReply(ReplyFailure.FORGOTTEN)
        if not self._second_me.is_configured:
            raise CannotReply(ReplyFailure.NO_CORE)

    @asynccontextmanager
    async def generate(self, request: PendingRequest) -> AsyncIterator[AsyncIterator[str]]:
        if stored := await self._second_me.find_interaction(request.reply.id):
            # Second Me had replied and stored it, but the process ended before the message was posted.
            yield _single_chunk(stored.response)
            return
        subject = await self._subject(request)
        agent_request = await self._images.with_images(request.agent_request())
        try:
            async with self._second_me.invoke(
                subject, agent_request.input, interaction=request.reply.id, request=agent_request
            ) as chunks:
                yield chunks
        except PromptTooLong as error:
            raise CannotReply(ReplyFailure.TOO_LONG) from error

    async def check_readers(self, request: PendingRequest) -> None:
        async with self._database.read_only() as tx:
            room = await tx.rooms.get(request.room.id)
        if room is None or room.is_group:
            raise CannotReply(ReplyFailure.PRIVATE)

    async def _forget(self, request: PendingRequest) -> None:
        """Delete Second Me's memory of the author: of the Matrix account and of the citizen linked with it."""
        subjects = {request.message.author.subject, await self._subject(request)}
        async with self._database.transaction() as tx:
            # The failure is stored in the same transaction, so that a crash repeats only the notice and not the
            # deletion.
            if await tx.agent_replies.mark_failed(request.reply.id, ReplyFailure.FORGOTTEN):
                for subject in subjects:
                    await tx.interactions.delete_all(subject)

    async def _subject(self, request: PendingRequest) -> SubjectId:
        return await self._accounts.subject_of(UserId(request.message.author.id))


async def _single_chunk(text: str) -> AsyncIterator[str]:
    yield text
