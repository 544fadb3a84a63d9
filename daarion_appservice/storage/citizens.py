"""Display names of citizens from their tokens, also of citizens who were never in a room, and the profiles that they choose."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Row, exists, func, not_, select

from ..city.history_visibility import PUBLIC
from ..city.linked_accounts import OwnProfile
from ..city.types import AuthorKind, CitizenId
from .key_values import KeyValueRepository, accounts_changed
from .media import note_avatars
from .parameter_lists import parts
from .readable import message_is_readable
from .repository import Repository
from .tables import citizens, messages
from .upsert import insert


class CitizenRepository(Repository):
    """The table ``citizens``."""

    async def put(self, citizen: CitizenId, display_name: str, *, now_ms: int) -> bool:
        """Store a name, in place of an earlier one; return whether it is another one.

        Args:
            display_name: The name in the citizen's token.
            now_ms: Milliseconds since 1970.
        """
        statement = insert(self._connection, citizens).values(
            id=citizen, display_name=display_name, updated_at_ms=now_ms
        )
        stored = await self._connection.execute(
            statement.on_conflict_do_update(
                index_elements=[citizens.c.id],
                set_={"display_name": display_name, "updated_at_ms": now_ms},
                where=citizens.c.display_name != display_name,
            )
        )
        return stored.rowcount > 0

    async def names(self, ids: Collection[CitizenId]) -> dict[CitizenId, str]:
        """Return the known names of the citizens in ``ids``: the chosen ones, else those of their tokens."""
        name = func.coalesce(citizens.c.own_name, citizens.c.display_name)
        names: dict[CitizenId, str] = {}
        for part in parts(ids):
            found = await self._connection.execute(select(citizens.c.id, name).where(citizens.c.id.in_(part)))
            names |= {CitizenId(citizen): display_name for citizen, display_name in found}
        return names

    async def public_authors(self, ids: Collection[CitizenId]) -> set[CitizenId]:
        """Return those of the citizens who wrote a message that everyone may read."""
        table, found = messages.c, set[CitizenId]()
        written = (table.author_kind == AuthorKind.CITIZEN, table.author_id == citizens.c.id, not_(table.deleted))
        is_author = exists().where(*written, message_is_readable(PUBLIC))
        for part in parts(ids):
            rows = await self._connection.scalars(select(citizens.c.id).where(citizens.c.id.in_(part), is_author))
            found |= {CitizenId(citizen) for citizen in rows}
        return found

    async def profile(self, citizen: CitizenId) -> OwnProfile | None:
        """Return the profile that a citizen has chosen; None for a citizen without a stored name."""
        found = await self._connection.execute(select(citizens).where(citizens.c.id == citizen))
        row = found.first()
        return _profile(row) if row else None

    async def profiles(self, *, after: int) -> list[OwnProfile]:
        """Return the profiles that were changed after a version of the accounts; each once, as it is now."""
        found = await self._connection.execute(select(citizens).where(citizens.c.profile_version > after))
        return [_profile(row) for row in found]

    async def put_profile(self, profile: OwnProfile, token_name: str, *, now_ms: int) -> None:
        """Store a profile, and increase the version of the accounts.

        Args:
            token_name: The name in the citizen's token.
            now_ms: Milliseconds since 1970.
        """
        await accounts_changed(self._connection)
        values = {
            "own_name": profile.display_name,
            "avatar_url": profile.avatar_url,
            "status_text": profile.status_text,
            "profile_version": await KeyValueRepository(self._connection).accounts_version(),
            "updated_at_ms": now_ms,
        }
        statement = insert(self._connection, citizens).values(id=profile.citizen, display_name=token_name, **values)
        await self._connection.execute(statement.on_conflict_do_update(index_elements=[citizens.c.id], set_=values))
        await note_avatars(self._connection, [profile.avatar_url])


def _profile(row: Row[Any]) -> OwnProfile:
    return OwnProfile(CitizenId(row.id), row.own_name, row.avatar_url, row.status_text, row.display_name)
