"""Departures of ghosts from direct chats that their linked persons opened on Matrix."""

from __future__ import annotations

from dataclasses import dataclass

from .identity import Identities
from .ports import CityTransaction, NewId
from .types import AuthorKind, CitizenId, OutboxKind, RoomId


@dataclass(frozen=True, slots=True)
class ChatDepartures:
    """Has ghosts leave the chats that they entered for a linked account, when the link or the chat ends."""

    identities: Identities
    new_id: NewId

    async def store(self, tx: CityTransaction, citizen: CitizenId) -> bool:
        """Store the leaves of a citizen's ghost in the outbox, which sends them after the messages before them.

        Args:
            tx: The transaction that ends the link.

        Returns:
            Whether there are any.
        """
        ghost = self.identities.citizen(citizen)
        chats = await tx.direct_chats.joined_by(ghost)
        for chat in chats:
            await tx.outbox.add_move(OutboxKind.LEAVE, ghost, chat, txn_id=self.new_id())
        return bool(chats)

    async def store_for_chat(self, tx: CityTransaction, chat: RoomId) -> None:
        """Store the leaves of all citizens' ghosts of a chat that its last agent leaves.

        Args:
            tx: The transaction that ends the chat.
        """
        for user in sorted(await tx.membership_periods.joined_users(chat)):
            match self.identities.describe(user):
                case (AuthorKind.CITIZEN, _):
                    await tx.outbox.add_move(OutboxKind.LEAVE, user, chat, txn_id=self.new_id())
