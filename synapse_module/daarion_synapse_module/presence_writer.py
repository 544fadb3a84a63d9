"""Writes Synapse's presence for many users in one transaction. Only this module uses internals of Synapse.

The public `ModuleApi.set_presence_for_users` is not sufficient: it sets the state of a user, but not the devices from
which Synapse derives that state (measured on Synapse 1.163). The user's next message or typing notice therefore sets it
offline, as does the first check of the timeouts after a restart of Synapse, and otherwise it stays online for ever. This
module writes state and device as ``PUT /presence/{userId}/status`` does, with one row for each user, but one transaction
and one notification of the readers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from synapse.api.presence import UserDevicePresenceState, UserPresenceState
from synapse.module_api.errors import ConfigError

from .presence_updates import ONLINE, UserPresence

if TYPE_CHECKING:
    from synapse.server import HomeServer

_NO_DEVICE: Final = None
"""The device of a PUT without ``device_id``, and of what Synapse reads from its database when it starts."""

_MAX_REFRESH_INTERVAL_S: Final = 5.0
_REFRESHES_PER_TIMEOUT: Final = 3
"""Refreshes of a user within the shortest of Synapse's own timeouts."""

_FEDERATION_PING_MS: Final = 25 * 60 * 1000
"""Other servers drop a presence that was not sent again for 30 minutes (Synapse's FEDERATION_TIMEOUT)."""


def writes_presence(homeserver: HomeServer) -> bool:
    """Return whether this process of Synapse writes presence; without workers there is only one process."""
    return homeserver.get_instance_name() in homeserver.config.worker.writers.presence


class PresenceWriter:
    """Writes and refreshes presence. Create it only in the process for which `writes_presence` is true."""

    def __init__(self, homeserver: HomeServer) -> None:
        """Raises ConfigError if presence is disabled, or if Synapse has other internals than this module knows."""
        # Imported late: Synapse imports this module while it reads its configuration.
        from synapse.handlers.presence import PresenceHandler  # noqa: PLC0415

        server = homeserver.config.server
        if not server.track_presence:
            raise ConfigError("daarion_synapse_module needs presence, which homeserver.yaml disables")
        handler = homeserver.get_presence_handler()
        known = ("user_to_current_state", "_user_to_device_to_current_state", "_update_states")
        if not isinstance(handler, PresenceHandler) or not all(hasattr(handler, name) for name in known):
            raise ConfigError("daarion_synapse_module does not support the presence of this version of Synapse")
        self._handler: Final = handler
        self._clock: Final = homeserver.get_clock()
        self._unnotified: set[str] = set()
        """Users whose presence is in Synapse's memory, but the database failed before readers were notified."""
        # Settings since 1.156, before that fixed.
        timeouts_ms = (
            getattr(server, "presence_sync_online_timeout", 30_000),
            getattr(server, "presence_last_active_granularity", 60_000),
        )
        self.refresh_interval_s: Final = min(_MAX_REFRESH_INTERVAL_S, min(timeouts_ms) / 1000 / _REFRESHES_PER_TIMEOUT)
        """The interval of `refresh` for users that stay online, in seconds."""

    async def write(self, users: Mapping[str, UserPresence]) -> None:
        """Set the presence of users; readers are notified of changes only.

        Synapse's memory has changed before the first await; its database and the readers follow. If the database fails,
        the exception is raised, and the next `write` of these users notifies all readers, changed or not.
        """
        now = int(self._clock.time_msec())
        states = [self._state(user_id, new, now) for user_id, new in users.items()]
        try:
            await self._handler._update_states(  # noqa: SLF001 (see the docstring of the module)
                states, force_notify=not self._unnotified.isdisjoint(users)
            )
        except Exception:
            self._unnotified.update(users)
            raise
        self._unnotified.difference_update(users)

    def refresh(self, users: Mapping[str, UserPresence]) -> dict[str, UserPresence]:
        """Record activity of users, so that Synapse's timeouts do not set them offline.

        This changes memory only; nothing is written to the database or sent to readers.

        Returns:
            The users that must be written again: another cause changed them (a message sets ``unavailable`` to
                ``online``), readers were not notified, or other servers need a new copy.
        """
        now = int(self._clock.time_msec())
        return {user_id: new for user_id, new in users.items() if not self._is_refreshed(user_id, new, now)}

    def _state(self, user_id: str, new: UserPresence, now: int) -> UserPresenceState:
        # One device replaces all others: the application service alone decides the presence of its users.
        self._devices[user_id] = {
            _NO_DEVICE: UserDevicePresenceState(user_id, _NO_DEVICE, new.presence, last_active_ts=now, last_sync_ts=0)
        }
        state = self._handler.user_to_current_state.get(user_id) or UserPresenceState.default(user_id)
        return state.copy_and_replace(
            state=new.presence,
            status_msg=new.status_msg,
            # Also for `unavailable`, unlike a PUT: Synapse checks a user whose last activity is old every 5 seconds, and
            # writes it to the database and sends it to all readers once a minute.
            last_active_ts=now if new.is_active else state.last_active_ts,
        )

    def _is_refreshed(self, user_id: str, new: UserPresence, now: int) -> bool:
        state = self._handler.user_to_current_state.get(user_id)
        device = self._devices.get(user_id, {}).get(_NO_DEVICE)
        if (
            state is None
            or device is None
            or (state.state, state.status_msg) != (new.presence, new.status_msg)
            or device.state != new.presence
            or (new.presence == ONLINE and not state.currently_active)
            or now - state.last_federation_update_ts > _FEDERATION_PING_MS
            or user_id in self._unnotified
        ):
            return False
        device.last_active_ts = now
        self._handler.user_to_current_state[user_id] = state.copy_and_replace(last_active_ts=now)
        return True

    @property
    def _devices(self) -> dict[str, dict[str | None, UserDevicePresenceState]]:
        return self._handler._user_to_device_to_current_state  # noqa: SLF001
