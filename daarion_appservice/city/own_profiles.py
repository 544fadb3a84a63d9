"""The name, picture and status text that citizens choose for themselves.

    PATCH /city/me ─► citizens ─► AccountsChanged ─► every process loads the profile
                                                └─► the leader writes it into the profile of the ghost on Matrix

A citizen who is linked with a Matrix account has the name and picture of that account, and chooses a status text only.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final, Literal

from ..errors import Conflict, InvalidInput
from .display_names import citizen_name
from .events import AccountsChanged
from .linked_accounts import OwnProfile
from .pictures import find_picture
from .ports import CityStore, NowMs, PresenceStore, Publish
from .presence import KEEP, Heartbeat, Status
from .text_sanitizing import one_line
from .types import Author, AuthorKind, CitizenId, SubjectId, citizen_subject

MAX_STATUS_CHARS: Final = 255
"""The longest status text, which a heartbeat carries, too."""
_SESSION: Final = "profile"
"""The name of the session by which a new status text is shown at once."""


class Unchanged(Enum):
    """The value of a field that a change leaves as it is."""

    UNCHANGED = "unchanged"


UNCHANGED: Final = Unchanged.UNCHANGED


@dataclass(frozen=True, slots=True)
class ProfileChange:
    """A change of a citizen's profile; None removes a value."""

    display_name: str | Literal[Unchanged.UNCHANGED] | None = UNCHANGED
    avatar: str | Literal[Unchanged.UNCHANGED] | None = UNCHANGED
    status_text: str | Literal[Unchanged.UNCHANGED] | None = UNCHANGED


class OwnProfiles:
    """Changes the profiles of citizens."""

    def __init__(
        self,
        store: CityStore,
        publish: Publish,
        presence: PresenceStore,
        reload: Callable[[], Awaitable[None]],
        now_ms: NowMs,
    ) -> None:
        """``reload`` loads changed profiles into the memory of this process."""
        self._store = store
        self._reload = reload
        self._publish = publish
        self._presence = presence
        self._now_ms = now_ms

    async def change(self, citizen: CitizenId, token_name: str, change: ProfileChange) -> OwnProfile:
        """Change the profile of a citizen, and return the new one.

        Args:
            token_name: The name in the citizen's token, which is shown if the citizen chooses none.
            change: The changed fields.

        Raises:
            InvalidInput: The name or the status text is invalid, or the avatar is not an uploaded picture of the citizen.
            Conflict: The citizen is linked with a Matrix account, which has the name and the picture.
        """
        change = _sanitized(change)
        async with self._store.transaction() as tx:
            await tx.accounts.lock()
            before = await tx.citizens.profile(citizen) or OwnProfile(citizen)
            after = _changed(before, change)
            is_public_change = (before.display_name, before.avatar_url) != (after.display_name, after.avatar_url)
            if is_public_change and await tx.accounts.of(citizen) is not None:
                raise Conflict("linked_profile", "the name and the picture are those of the linked Matrix account")
            if isinstance(change.avatar, str) and after.avatar_url != before.avatar_url:
                await find_picture(tx, Author(AuthorKind.CITIZEN, citizen, ""), change.avatar)
            if after != before:
                await tx.citizens.put_profile(after, token_name, now_ms=self._now_ms())
        if after != before:
            await self._reload()
            self._publish(AccountsChanged())
        if after.status_text != before.status_text:
            await self._show_status(citizen_subject(citizen), after.status_text)
        return after

    async def of(self, citizen: CitizenId) -> OwnProfile:
        """Return the profile that a citizen has chosen."""
        async with self._store.read_only() as tx:
            return await tx.citizens.profile(citizen) or OwnProfile(citizen)

    async def _show_status(self, subject: SubjectId, text: str | None) -> None:
        """Show a status text with the presence of a citizen who is not offline, without keeping the citizen online."""
        status = self._presence.state(subject).status
        if status is Status.OFFLINE:
            return
        await self._presence.record_heartbeat([Heartbeat(subject, status, text, _SESSION)])
        await self._presence.record_heartbeat([Heartbeat(subject, Status.OFFLINE, KEEP, _SESSION)])


def _sanitized(change: ProfileChange) -> ProfileChange:
    if isinstance(change.display_name, str):
        change = replace(change, display_name=citizen_name(change.display_name))
    if isinstance(change.status_text, str):
        text = one_line(change.status_text, MAX_STATUS_CHARS + 1)
        if len(text) > MAX_STATUS_CHARS:
            raise InvalidInput(
                "status_invalid", f"a status text may have {MAX_STATUS_CHARS} characters at most", status=422
            )
        change = replace(change, status_text=text or None)
    return change


def _changed(profile: OwnProfile, change: ProfileChange) -> OwnProfile:
    if not isinstance(change.display_name, Unchanged):
        profile = replace(profile, display_name=change.display_name)
    if not isinstance(change.avatar, Unchanged):
        profile = replace(profile, avatar_url=change.avatar)
    if not isinstance(change.status_text, Unchanged):
        profile = replace(profile, status_text=change.status_text)
    return profile
