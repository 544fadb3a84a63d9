"""Kinds of replies: when an agent may reply, and how its reply is generated.

`CoreReplies` serves the agents of the registry; `second_me_replies.SecondMeReplies` serves Second Me, which replies from
the private memory of the author.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from ..city.pending_replies import ReplyFailure
from .core import AgentsCore
from .image_inputs import ImageInputs
from .pending_request import PendingRequest


class CannotReply(Exception):
    """There will be no reply; the agent posts a notice with the reason."""

    def __init__(self, failure: ReplyFailure) -> None:
        super().__init__(failure.value)
        self.failure = failure


class NotReady(Exception):
    """A reply is not possible yet; the request is tried again a second later."""


class ReplyKind(Protocol):
    """Generates the replies of one kind of agent."""

    async def check(self, request: PendingRequest) -> None:
        """Check that the agent may reply to the request.

        Raises:
            CannotReply, NotReady
        """
        ...

    def generate(self, request: PendingRequest) -> AbstractAsyncContextManager[AsyncIterator[str]]:
        """Send the request to the agents core, and yield an iterator over the text chunks of the reply.

        Raises:
            CannotReply, CityError: before the first chunk.
            CoreError: before or between the chunks.
        """
        ...

    async def check_readers(self, request: PendingRequest) -> None:
        """Check before each post that all present readers of the room may read the reply.

        Raises:
            CannotReply: another user, who may not read it, has joined the room since the request.
        """
        ...


class CoreReplies:
    """Replies of agents that the registry describes."""

    def __init__(self, core: AgentsCore, images: ImageInputs) -> None:
        self._core = core
        self._images = images

    async def check(self, request: PendingRequest) -> None:
        """Check that an agents core is configured: every room is allowed."""
        if not self._core.is_configured:
            raise CannotReply(ReplyFailure.NO_CORE)

    @asynccontextmanager
    async def generate(self, request: PendingRequest) -> AsyncIterator[AsyncIterator[str]]:
        async with self._core.generate(await self._images.with_images(request.agent_request())) as chunks:
            yield chunks

    async def check_readers(self, request: PendingRequest) -> None:
        """Allow every reader: the replies are for all readers of the room."""
