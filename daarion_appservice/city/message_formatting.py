"""Formatting of messages written in the city: Markdown to HTML, and mentions by ``@name``.

Rendering a long text takes up to 0.1 s (measured with the slowest 48,000 bytes that were found), so it runs in the
thread of `background_parsing` and does not block the event loop.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from .agents import AgentDirectory
from .background_parsing import MAX_INLINE_CHARS, in_thread
from .identity import Identities, is_user_id
from .markdown import mention_names, without_spaced_ids
from .markdown_rendering import Pill, render_markdown
from .message_kinds import Details
from .types import AgentSlug, Content, Media, SubjectId, UserId

_ROOM: Final = "room"
"""The name that mentions all members of a room, unless it is an agent's."""


class MessageFormatter:
    """Formats messages. ``@<slug>`` mentions an agent, ``@name:server`` a Matrix user or a ghost by its Matrix user id."""

    def __init__(
        self, agents: AgentDirectory, identities: Identities, is_known: Callable[[SubjectId], bool] = lambda _: False
    ) -> None:
        """Create the formatter; ``is_known`` returns whether a Matrix user is a member of any room of the city."""
        self._agents = agents
        self._identities = identities
        self._is_known = is_known

    async def content(self, body: str, *, msgtype: str, media: Media | None) -> Content:
        """Render Markdown that a citizen or agent wrote as the content of a message, for the city and for Matrix.

        Rendering is expensive: call it outside a transaction, and only for a body whose size was checked.
        """
        if len(body) <= MAX_INLINE_CHARS:
            return self._content(body, msgtype, media)
        return await in_thread(partial(self._content, body, msgtype, media))

    def _content(self, body: str, msgtype: str, media: Media | None) -> Content:
        names = mention_names(without_spaced_ids(body, self._identities.domain))
        mentioned = {name: who for name in names if (who := self._mentioned_subject(name)) is not None}
        return Content(
            body,
            render_markdown(body, {name: pill for name, (_, pill) in mentioned.items()}),
            msgtype,
            media,
            tuple(dict.fromkeys(subject for subject, _ in mentioned.values())),
            # Whether the author may mention all members, the caller checks: it depends on the room.
            Details(mentions_room=_ROOM in names and _ROOM not in mentioned),
        )

    def _mentioned_subject(self, name: str) -> tuple[SubjectId, Pill] | None:
        """Return the subject that a name after an @ mentions, and its pill."""
        user = UserId(f"@{name}")
        if is_user_id(user):
            found = self._user(name)
            subject = self._identities.subject(found) if found is not None else None
            return (subject, Pill(found, found)) if found is not None and subject is not None else None
        agent = self._agents.get(AgentSlug(name))
        if agent is None:
            return None
        user = self._identities.agent(agent.slug)
        subject = self._identities.subject(user)
        return (subject, Pill(user, agent.display_name)) if subject else None

    def _user(self, name: str) -> UserId | None:
        """Return the Matrix user that ``name:server`` means; None if it is not certain which one.

        Ids of this homeserver have no capitals, but phones type some. Historical ids have them: then the user with exactly
        this id is another one than that without capitals.
        """
        localpart, _, domain = name.partition(":")
        if domain.lower() != self._identities.domain.lower():
            return UserId(f"@{name}")
        exact, usual = (UserId(f"@{each}:{self._identities.domain}") for each in (localpart, localpart.lower()))
        if exact == usual or self._is_known(SubjectId(exact)):
            return exact
        is_certain = not self._identities.is_person(usual) or self._is_known(SubjectId(usual))
        return usual if is_certain else None
