"""Handles events of the bot's chats: invitations, changes of membership, and messages with commands.

The handlers only store what is to be done; ``reconcile.bot_chats`` joins the bot and answers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import structlog

from ...city.bot_commands import BotCommand, Language, parse_command
from ...city.event_fields import Event, content_of, event_id_of, inner, room_of, sender_of, text, type_of
from ...city.events import BotChatChanged, CityEvent
from ...city.identity import Identities
from ...city.ports import NowMs
from ...city.types import EventId, UserId
from ...storage.bot_chats import BotChat, BotRequest
from ...storage.database import Transaction

_MAX_ID_CHARS: Final = 255
_MAX_PENDING_CHATS: Final = 5
"""Maximum number of one Matrix user's invitations that the bot has not accepted yet."""
_MAX_PER_MINUTE: Final = 10
"""Maximum number of commands of one Matrix user in a minute; further ones get no answer."""
_MINUTE_MS: Final = 60_000

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class BotChatHandlers:
    """The handlers; each runs inside the transaction that marks its event as done."""

    identities: Identities
    now_ms: NowMs

    async def accept_invitation(self, tx: Transaction, event: Event) -> bool:
        """Store an invitation of the bot to a direct chat, which it accepts; return whether this is one.

        Other rooms may be meant for ``room adopt``: ``direct_chats`` declines their invitations later.
        """
        content, room, inviter = content_of(event), room_of(event), sender_of(event)
        is_invitation = text(event, "state_key") == self.identities.bot and text(content, "membership") == "invite"
        if not is_invitation or content.get("is_direct") is not True or not self.identities.is_person(inviter):
            return False
        if not room.startswith("!") or len(room) > _MAX_ID_CHARS:
            return False
        if await tx.bot_chats.count_unchecked(inviter) >= _MAX_PENDING_CHATS:
            log.warning("invitation_ignored", by=inviter, help="the user sends too many invitations")
            return False
        await tx.bot_chats.put(BotChat(room, inviter))
        # The bot begins with the list of its commands: it does not see what was written before it joined.
        invitation_id = event_id_of(event)
        await self._add(tx, BotChat(room, inviter), invitation_id, inviter, BotCommand.HELP, Language.EN)
        return True

    async def handle(self, tx: Transaction, event: Event) -> list[CityEvent]:
        """Handle an event of a chat of the bot; ignore those of other rooms."""
        chat = await tx.bot_chats.get(room_of(event))
        if chat is None:
            return []
        match type_of(event):
            case "m.room.member":
                return await self._member(tx, chat, event)
            case "m.room.message":
                return await self._message(tx, chat, event)
            case "m.room.encrypted" | "m.room.encryption":
                # The id of the room makes the notice the only one of the chat.
                notice_id = EventId(f"encrypted:{chat.matrix_room_id}"[:_MAX_ID_CHARS])
                return await self._add(tx, chat, notice_id, sender_of(event), BotCommand.ENCRYPTED, Language.EN)
        return []

    async def _member(self, tx: Transaction, chat: BotChat, event: Event) -> list[CityEvent]:
        membership, user = text(content_of(event), "membership"), UserId(text(event, "state_key"))
        previous = text(inner(inner(event, "unsigned"), "prev_content"), "membership")
        if membership in {previous, "invite"}:
            return []
        if user == self.identities.bot:
            if membership != "join":
                await tx.bot_chats.remove(chat.matrix_room_id)
            return []
        is_group = chat.is_group or membership == "join"
        await tx.bot_chats.put(replace(chat, is_checked=False, is_group=is_group))
        return [BotChatChanged()]

    async def _message(self, tx: Transaction, chat: BotChat, event: Event) -> list[CityEvent]:
        content, sender = content_of(event), sender_of(event)
        body = text(content, "body")
        is_edit = text(inner(content, "m.relates_to"), "rel_type") == "m.replace"
        # Notices are messages of machines, which must not talk with each other.
        if not self.identities.is_person(sender) or text(content, "msgtype") != "m.text" or is_edit or not body.strip():
            return []
        if chat.is_group and not self._is_mentioned(content, body):
            return []
        command, language = parse_command(body)
        return await self._add(tx, chat, event_id_of(event), sender, command, language)

    def _is_mentioned(self, content: Event, body: str) -> bool:
        mentioned = inner(content, "m.mentions").get("user_ids")
        named = (self.identities.bot, self.identities.bot.partition(":")[0])
        is_named = body.lstrip().lower().split(maxsplit=1)[0].rstrip(",:;!?.") in named
        return is_named or (isinstance(mentioned, list) and self.identities.bot in mentioned)

    async def _add(
        self,
        tx: Transaction,
        chat: BotChat,
        event_id: EventId,
        sender: UserId,
        command: BotCommand,
        language: Language,
    ) -> list[CityEvent]:
        now_ms = self.now_ms()
        if len(event_id) > _MAX_ID_CHARS or not self.identities.is_person(sender):
            return []
        if await tx.bot_chats.count_requests(sender, since_ms=now_ms - _MINUTE_MS) >= _MAX_PER_MINUTE:
            return []
        await tx.bot_chats.add_request(BotRequest(event_id, chat.matrix_room_id, sender, command, language, now_ms))
        return [BotChatChanged()]
