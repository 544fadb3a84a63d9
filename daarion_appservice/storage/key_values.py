"""Single values of the service by name."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Integer, Text, cast, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ..city.types import MessageId, RoomId, UserId
from .repository import Repository
from .tables import key_values
from .upsert import insert

_REGISTRY: Final = "registry_version"
_TRACKED: Final = "registry_tracked_changes"
_REMOVALS: Final = "registry_removal_version"
_ACCOUNTS: Final = "accounts_version"
_PRESENCE_TIMEOUT: Final = "presence_timeout_ms:"
_WRITE_PROBE: Final = "write_probe"
_RETENTION: Final = "unfinished_retention:"
_DELETION: Final = "unfinished_deletion:"
_MESSAGE_REMOVAL: Final = "message_removal:"
_SEARCH_POSITION: Final = "search_position"
_KEY_LENGTH: Final = 64


@dataclass(frozen=True, slots=True)
class RegistryChanges:
    """How often the registry was changed."""

    version: int
    untracked: int
    """The number of changes whose agents and tokens do not carry their version: a process of a release before revision
    0037 made them, for example the last one to be restarted in a rolling upgrade."""


@dataclass(frozen=True, slots=True)
class SearchPosition:
    """How far old messages are indexed, from the newest on."""

    before: MessageId | None
    """Messages with lower ids are not indexed yet; None before the first batch."""
    is_complete: bool


class KeyValueRepository(Repository):
    """The table ``key_values``."""

    async def registry_changes(self) -> RegistryChanges:
        """Return the version of the registry together with the number of changes that rows do not tell."""
        found = await self._connection.execute(
            select(key_values.c.key, key_values.c.value).where(key_values.c.key.in_([_REGISTRY, _TRACKED]))
        )
        values = {key: int(value) for key, value in found}
        version = values.get(_REGISTRY, 0)
        return RegistryChanges(version, version - values.get(_TRACKED, 0))

    async def removal_version(self) -> int:
        """Return the registry version of the last removal of an agent; 0 if there was none."""
        return await self._version(_REMOVALS)

    async def accounts_version(self) -> int:
        """Return a number that changes when links between citizens and Matrix accounts do, in any process."""
        return await self._version(_ACCOUNTS)

    async def _version(self, key: str) -> int:
        found = await self._connection.execute(select(key_values.c.value).where(key_values.c.key == key))
        return int(found.scalar() or 0)

    async def presence_timeout_ms(self, software: str) -> int | None:
        """Return how long this homeserver software holds a presence without refresh; None if it was never measured."""
        found = await self._connection.execute(
            select(key_values.c.value).where(key_values.c.key == _presence_timeout_key(software))
        )
        value = found.scalar()
        return None if value is None else int(value)

    async def put_presence_timeout_ms(self, software: str, timeout_ms: int) -> None:
        await self._put(_presence_timeout_key(software), str(timeout_ms))

    async def search_position(self) -> SearchPosition:
        """Return how far the messages from before the search index existed are indexed."""
        found = await self._connection.execute(select(key_values.c.value).where(key_values.c.key == _SEARCH_POSITION))
        value = found.scalar()
        return SearchPosition(MessageId(value) if value else None, is_complete=value == "")

    async def put_search_position(self, before: MessageId | None) -> None:
        """Store that messages from this id on are indexed; None for all messages."""
        await self._put(_SEARCH_POSITION, before or "")

    async def unfinished_retentions(self) -> set[RoomId]:
        """Return the rooms of which old messages were deleted without a ``resync`` event for their clients yet."""
        return await self._rooms(_RETENTION)

    async def begin_retention(self, room: RoomId) -> None:
        """Store that a room loses old messages."""
        await self._put(_room_key(_RETENTION, room), room)

    async def end_retention(self, room: RoomId) -> None:
        """Store that the clients of a room got `city.room.resync`."""
        await self._delete(_room_key(_RETENTION, room))

    async def unfinished_deletions(self) -> set[RoomId]:
        """Return the rooms that are to be removed."""
        return await self._rooms(_DELETION)

    async def is_deletion_unfinished(self, room: RoomId) -> bool:
        """Return whether a room is to be removed."""
        of_room = select(key_values.c.key).where(key_values.c.key == _room_key(_DELETION, room))
        return (await self._connection.execute(of_room)).first() is not None

    async def begin_deletion(self, room: RoomId) -> None:
        """Store that a room is to be removed."""
        await self._put(_room_key(_DELETION, room), room)

    async def end_deletion(self, room: RoomId) -> None:
        """Store that a room is removed."""
        await self._delete(_room_key(_DELETION, room))

    async def unfinished_message_removals(self) -> set[str]:
        """Return the removals of messages that are not finished, as they were stored."""
        return await self._values(_MESSAGE_REMOVAL)

    async def message_removal(self, room: RoomId, user: UserId) -> str | None:
        """Return the removal of a user's messages from a room, as it was stored; None if there is none."""
        key = message_removal_key(room, user)
        value: str | None = await self._connection.scalar(select(key_values.c.value).where(key_values.c.key == key))
        return value

    async def begin_message_removal(self, room: RoomId, user: UserId, removal: str) -> None:
        """Store a removal of a user's messages, in place of an earlier one of the same user in the same room."""
        await self._put(message_removal_key(room, user), removal)

    async def end_message_removal(self, room: RoomId, user: UserId, removal: str) -> None:
        """Store that a removal is finished, unless another one has taken its place."""
        key = message_removal_key(room, user)
        await self._connection.execute(delete(key_values).where(key_values.c.key == key, key_values.c.value == removal))

    async def put_removal_version(self, version: int) -> None:
        """Store the registry version of the last removal of an agent."""
        await self._put(_REMOVALS, str(version))

    async def put_write_probe(self) -> None:
        """Write a row without meaning, to find out whether the database accepts writes."""
        await self._put(_WRITE_PROBE, "1")

    async def _rooms(self, prefix: str) -> set[RoomId]:
        return set(map(RoomId, await self._values(prefix)))

    async def _values(self, prefix: str) -> set[str]:
        named = key_values.c.key.startswith(prefix, autoescape=True)
        return set(await self._connection.scalars(select(key_values.c.value).where(named)))

    async def _delete(self, key: str) -> None:
        await self._connection.execute(delete(key_values).where(key_values.c.key == key))

    async def _put(self, key: str, value: str) -> None:
        statement = insert(self._connection, key_values).values(key=key, value=value)
        await self._connection.execute(
            statement.on_conflict_do_update(index_elements=[key_values.c.key], set_={"value": value})
        )


def message_removal_key(room: str, user: str) -> str:
    """Return the key under which the removal of a user's messages from a room is stored."""
    return _room_key(_MESSAGE_REMOVAL, f"{room} {user}")


def _room_key(prefix: str, room: str) -> str:
    # A room id may be longer than a key.
    return prefix + hashlib.sha256(room.encode()).hexdigest()[:32]


def _presence_timeout_key(software: str) -> str:
    return (_PRESENCE_TIMEOUT + software)[:_KEY_LENGTH]


async def registry_changed(connection: AsyncConnection) -> int:
    """Increase the registry version, so that a running service notices the change, and return the new version.

    Every transaction that changes agents, tokens, rooms or dead letters must call this function. Other changes of the
    registry wait until this transaction ends, so versions are committed in their order.
    """
    version = await _increase(connection, _REGISTRY)
    await _increase(connection, _TRACKED)
    return version


async def agents_removed(connection: AsyncConnection, version: int) -> None:
    """Store the registry version in which agents were removed."""
    await KeyValueRepository(connection).put_removal_version(version)


async def accounts_changed(connection: AsyncConnection) -> None:
    """Increase the version of the links. Every transaction that changes the table ``accounts`` must call this function."""
    await _increase(connection, _ACCOUNTS)


async def _increase(connection: AsyncConnection, key: str) -> int:
    statement = insert(connection, key_values).values(key=key, value="1")
    increased = await connection.execute(
        statement.on_conflict_do_update(
            index_elements=[key_values.c.key], set_={"value": cast(cast(key_values.c.value, Integer) + 1, Text)}
        ).returning(key_values.c.value)
    )
    return int(increased.scalar_one())
