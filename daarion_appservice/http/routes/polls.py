"""The routes ``/city/rooms/{room_id}/messages/{message_id}/votes`` and ``…/end``: votes in polls, and their end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import Field

from ...city.identity import Identities
from ...city.polls import Polls
from .. import schemas
from ..auth.actors import ActorDirectory
from ..auth.principals import Access, is_admin
from ..message_views import message_view
from ..routing import Body, Call, NoBody, NoQuery, endpoint

_POLL: Final = "/city/rooms/{room_id}/messages/{message_id}"
_READ_ERRORS: Final = ("no_such_room", "no_such_message", "no_such_poll", "message_deleted")
_WRITE_ERRORS: Final = (
    *_READ_ERRORS,
    "room_archived",
    "room_being_deleted",
    "banned",
    "kicked",
    "muted",
    "invite_only",
    "room_encrypted",
)


class NewVote(Body):
    """A vote in a poll."""

    selections: list[Annotated[str, Field(min_length=1, max_length=255)]] = Field(
        max_length=20,
        description="The ids of the selected options; none withdraws an earlier vote.",
        examples=[["1"]],
    )


@dataclass(frozen=True, slots=True)
class PollRoutes:
    polls: Polls
    authors: ActorDirectory
    identities: Identities

    @endpoint(
        "GET",
        _POLL + "/votes",
        access=Access.ACTORS,
        summary="Get one's vote in a poll",
        response=schemas.PollVote,
        errors=_READ_ERRORS,
    )
    async def get_vote(self, call: Call[NoBody, NoQuery]) -> schemas.PollVote:
        """Returns the options that the client's own vote counts for; votes of others are not readable."""
        author, path = await self.authors.with_avatar(call.principal), call.path
        return {"selections": list(await self.polls.own_vote(author, path["room_id"], path["message_id"]))}

    @endpoint(
        "POST",
        _POLL + "/votes",
        access=Access.ACTORS,
        body=NewVote,
        summary="Vote in a poll",
        response=schemas.Message,
        errors=(*_WRITE_ERRORS, "poll_ended", "no_such_option", "too_many_selections"),
    )
    async def vote(self, call: Call[NewVote, NoQuery]) -> schemas.Message:
        """The vote replaces an earlier one of the client; voting the same again changes nothing. On Matrix the client's ghost
        votes. Returns the message with its new results.
        """
        author, path = await self.authors.with_avatar(call.principal), call.path
        message = await self.polls.vote(author, path["room_id"], path["message_id"], call.body.selections)
        return message_view(message, self.identities)

    @endpoint(
        "POST",
        _POLL + "/end",
        access=Access.ACTORS,
        summary="End a poll",
        response=schemas.Message,
        errors=(*_WRITE_ERRORS, "not_yours", "sent_on_matrix"),
    )
    async def end_poll(self, call: Call[NoBody, NoQuery]) -> schemas.Message:
        """For the author of the poll, for those whose power level on Matrix allows to redact messages of others, and for
        citizens with the admin claim. A poll that has ended is returned unchanged.
        """
        author, path = await self.authors.with_avatar(call.principal), call.path
        message = await self.polls.end(
            author, path["room_id"], path["message_id"], may_moderate=is_admin(call.principal)
        )
        return message_view(message, self.identities)
