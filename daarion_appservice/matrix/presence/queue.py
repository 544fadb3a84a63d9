"""What the homeserver should show of whom, and whom to tell it of next. No clock, no I/O.

    change in the city ─► wish (newest wins) ─► changed ─────┐
    told a period ago ────────────────────────► refreshes ───┴─ take ─► being told ─► told | failed: later

Changes come first; refreshes whose period is over and changes take turns, so that neither starves the other. Nobody stands in a
queue twice, and nobody is taken while they are being told. While the plan rests (somebody else tells the homeserver) only wishes
are collected.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from ...city.presence import Status
from ...city.types import UserId
from .refreshes import RefreshSchedule

_RETRY_MS: Final = 2_000
"""How soon somebody is told of again after it did not work."""
_FORGOTTEN_MS: Final = 120_000
"""Who went offline longer ago than this while we rested: Synapse has noticed by itself."""


@dataclass(frozen=True, slots=True)
class DesiredPresence:
    """What the homeserver should show of a ghost."""

    status: Status
    status_msg: str | None

    @property
    def text(self) -> str | None:
        """What should stand in the profile."""
        return None if self.status is Status.OFFLINE else self.status_msg or None


GONE: Final = DesiredPresence(Status.OFFLINE, None)


class PresenceQueue:
    """Times are milliseconds since 1970; none goes back."""

    def __init__(self, *, period_ms: int) -> None:
        self.refreshes = RefreshSchedule(period_ms=period_ms)
        self.wishes: dict[UserId, DesiredPresence] = {}
        """Everybody who is not offline, and those whose going offline was not told yet."""
        self._changed: OrderedDict[UserId, None] = OrderedDict()
        """A set that keeps the order in which they changed."""
        self._later: OrderedDict[UserId, int] = OrderedDict()
        """Who is to be told again because it did not work, and when, the soonest first."""
        self._being_told: set[UserId] = set()
        self._left: OrderedDict[UserId, int] = OrderedDict()
        """When who went offline while we rested."""
        self._refresh_has_its_turn = False
        self._rests = True

    # --- what is wished -------------------------------------------------------------------------------

    def wish(self, user: UserId, wish: DesiredPresence, now_ms: int) -> None:
        self.wishes[user] = wish
        if not self._rests:
            self._changed.setdefault(user)
        elif wish.status is Status.OFFLINE:
            self._left[user] = now_ms
            self._left.move_to_end(user)
            self._drop_who_left_long_ago(now_ms)

    def tell_again(self, user: UserId) -> None:
        """The homeserver shows something else of somebody than what it was told, or can be told only now."""
        if user in self.wishes and not self._rests:
            self._changed.setdefault(user)

    def tell_all(self) -> None:
        """The homeserver may have forgotten everything."""
        if self._rests:
            return
        for user, wish in self.wishes.items():
            if wish.status is Status.OFFLINE:
                self._changed.setdefault(user)
            else:
                self.refreshes.at_once(user)

    def begin(self, now_ms: int) -> None:
        """Tell everybody anew, whatever was told before."""
        self._drop_who_left_long_ago(now_ms)
        for queue in (self._left, self._changed, self._later, self._being_told, self.refreshes):
            queue.clear()
        self._rests = False
        self.tell_all()

    def rest(self) -> None:
        """Only collect wishes from now on."""
        self._rests = True

    def _drop_who_left_long_ago(self, now_ms: int) -> None:
        while self._left and next(iter(self._left.values())) < now_ms - _FORGOTTEN_MS:
            user, _ = self._left.popitem(last=False)
            if self.wishes[user].status is Status.OFFLINE:
                del self.wishes[user]

    # --- whom to tell of ------------------------------------------------------------------------------

    def take(self, now_ms: int) -> UserId | None:
        """Whom to tell of next, and what; ends with one of the methods below."""
        while self._later and next(iter(self._later.values())) <= now_ms:
            self._changed.setdefault(self._later.popitem(last=False)[0])
        self._refresh_has_its_turn = self.refreshes.are_overdue(now_ms) and not self._refresh_has_its_turn
        user = None if self._refresh_has_its_turn else self._take_change()
        user = user or self._take_refresh(now_ms) or self._take_change()
        if user is not None:
            self._being_told.add(user)
        return user

    def _take_change(self) -> UserId | None:
        for user in self._changed:  # at most as many steps as are being told of
            if user not in self._being_told:
                del self._changed[user]
                return user
        return None

    def _take_refresh(self, now_ms: int) -> UserId | None:
        while (user := self.refreshes.take(now_ms)) is not None:
            if user not in self._being_told:  # whoever is comes back into the queue by that
                self._changed.pop(user, None)
                return user
        return None

    @property
    def due_ms(self) -> int | None:
        """When somebody is to be told of whom ``take`` does not give yet; None when nobody is."""
        due = (self.refreshes.due_ms, next(iter(self._later.values()), None))
        return min((each for each in due if each is not None), default=None)

    # --- what became of it ----------------------------------------------------------------------------

    def told(self, user: UserId, wish: DesiredPresence, now_ms: int) -> None:
        """The homeserver took it."""
        self._being_told.discard(user)
        self._later.pop(user, None)
        if wish.status is not Status.OFFLINE:
            self.refreshes.told(user, now_ms)
            return
        self.refreshes.drop(user)
        if self.wishes[user] == wish:
            self._drop(user)

    def failed(self, user: UserId, now_ms: int) -> None:
        """It did not work and is worth another try in a while."""
        self._being_told.discard(user)
        self._later[user] = now_ms + _RETRY_MS
        self._later.move_to_end(user)

    def limited(self, user: UserId) -> None:
        """The homeserver would not take it now; it is told when the homeserver can bear it."""
        self._being_told.discard(user)
        self._changed.setdefault(user)

    def unknown(self, user: UserId) -> None:
        """There is no such ghost yet: once there is, it is told what is wished then."""
        self._being_told.discard(user)
        self.refreshes.drop(user)
        if self.wishes[user].status is Status.OFFLINE:
            self._drop(user)

    def _drop(self, user: UserId) -> None:
        del self.wishes[user]
        self._changed.pop(user, None)
        self._later.pop(user, None)
