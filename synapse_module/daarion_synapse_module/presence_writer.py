"""Synapse's presence, written for many users at a time. All that we know of Synapse's insides stands here.

`ModuleApi.set_presence_for_users` would be the public way, and is of no use for users who live. It sets the state of a
user and leaves out the devices that Synapse works that state out from (measured on Synapse 1.163): the user's next
message or typing notice makes it offline, so does the first look at the timeouts after a restart of Synapse, and
otherwise it stays online for ever. So users are written here as ``PUT /presence/{userId}/status`` writes them, state
and device, only all in one go: one row each, but one transaction and one waking of those who look.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from synapse.api.presence import UserDevicePresenceState, UserPresenceState
from synapse.module_api.errors import ConfigError

from .wishes import ONLINE, Shown

if TYPE_CHECKING:
    from synapse.server import HomeServer

_NO_DEVICE: Final = None
"""The device of a PUT without ``device_id``, and of what Synapse reads from its database when it starts."""

_KEEP_AT_LEAST_EVERY_S: Final = 5.0
_PER_TIMEOUT: Final = 3
"""How often a user is kept within the shortest of Synapse's own timeouts."""

_FEDERATION_PING_MS: Final = 25 * 60 * 1000
"""Other servers forget a presence that they were not told again for 30 minutes (Synapse's FEDERATION_TIMEOUT)."""


def writes_presence(homeserver: HomeServer) -> bool:
    """Whether this process is the one that writes presence: without workers it always is."""
    return homeserver.get_instance_name() in homeserver.config.worker.writers.presence


class PresenceWriter:
    """To be made in the process that writes presence, and nowhere else."""

    def __init__(self, homeserver: HomeServer) -> None:
        """Raises ConfigError if this Synapse keeps no presence, or keeps it in a way that is not known here."""
        # Imported late: Synapse imports us while it reads its configuration.
        from synapse.handlers.presence import PresenceHandler  # noqa: PLC0415

        server = homeserver.config.server
        if not server.track_presence:
            raise ConfigError("daarion_synapse_module needs presence, which homeserver.yaml switches off")
        handler = homeserver.get_presence_handler()
        known = ("user_to_current_state", "_user_to_device_to_current_state", "_update_states")
        if not isinstance(handler, PresenceHandler) or not all(hasattr(handler, name) for name in known):
            raise ConfigError("This Synapse keeps presence in a way that daarion_synapse_module does not know")
        self._handler: Final = handler
        self._clock: Final = homeserver.get_clock()
        self._untold: set[str] = set()
        """Shown in Synapse's memory, but the database failed before anybody was told."""
        # Settings since 1.156, before that fixed.
        timeouts_ms = (
            getattr(server, "presence_sync_online_timeout", 30_000),
            getattr(server, "presence_last_active_granularity", 60_000),
        )
        self.keep_every_s: Final = min(_KEEP_AT_LEAST_EVERY_S, min(timeouts_ms) / 1000 / _PER_TIMEOUT)
        """How often `keep` must be called for a user who is to stay up."""

    async def show(self, users: Mapping[str, Shown]) -> None:
        """Show users so from now on; those who look are told what changed, and only that.

        What is in Synapse's memory has changed when this first waits; then come its database and whoever looks. When
        the database fails, that is raised, and the next `show` of these users tells everybody, changed or not.
        """
        now = int(self._clock.time_msec())
        states = [self._state(user_id, shown, now) for user_id, shown in users.items()]
        try:
            await self._handler._update_states(  # noqa: SLF001 (see above)
                states, force_notify=not self._untold.isdisjoint(users)
            )
        except Exception:
            self._untold.update(users)
            raise
        self._untold.difference_update(users)

    def keep(self, users: Mapping[str, Shown]) -> dict[str, Shown]:
        """Be for them what activity is for others, so that Synapse's timeouts pass them by.

        This is in memory alone: a user kept so is not written to the database nor sent to anybody. Answers those who
        must be shown anew: something else changed them (a message turns ``unavailable`` into ``online``), somebody
        was not told of them, or other servers are due to hear of them.
        """
        now = int(self._clock.time_msec())
        return {user_id: shown for user_id, shown in users.items() if not self._kept(user_id, shown, now)}

    def _state(self, user_id: str, shown: Shown, now: int) -> UserPresenceState:
        # One device for all: whatever other ones said of this user, it is ours to say.
        self._devices[user_id] = {
            _NO_DEVICE: UserDevicePresenceState(user_id, _NO_DEVICE, shown.presence, last_active_ts=now, last_sync_ts=0)
        }
        state = self._handler.user_to_current_state.get(user_id) or UserPresenceState.default(user_id)
        return state.copy_and_replace(
            state=shown.presence,
            status_msg=shown.status_msg,
            # Also for `unavailable`, unlike a PUT: somebody up whose last activity is old is looked at every 5 seconds, and
            # for that written to the database, and sent to everybody, once a minute.
            last_active_ts=now if shown.is_up else state.last_active_ts,
        )

    def _kept(self, user_id: str, shown: Shown, now: int) -> bool:
        state = self._handler.user_to_current_state.get(user_id)
        device = self._devices.get(user_id, {}).get(_NO_DEVICE)
        if (
            state is None
            or device is None
            or (state.state, state.status_msg) != (shown.presence, shown.status_msg)
            or device.state != shown.presence
            or (shown.presence == ONLINE and not state.currently_active)
            or now - state.last_federation_update_ts > _FEDERATION_PING_MS
            or user_id in self._untold
        ):
            return False
        device.last_active_ts = now
        self._handler.user_to_current_state[user_id] = state.copy_and_replace(last_active_ts=now)
        return True

    @property
    def _devices(self) -> dict[str, dict[str | None, UserDevicePresenceState]]:
        return self._handler._user_to_device_to_current_state  # noqa: SLF001
