"""Presence updates: parses and checks the body of a request."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from synapse.module_api import JsonDict
from synapse.module_api.errors import Codes, SynapseError

ONLINE: Final = "online"
UNAVAILABLE: Final = "unavailable"

MAX_STATUS_MSG_CHARS: Final = 1024
"""The longest status text: each change sends it to every member of the ghost's rooms."""

_MAX_USER_ID_CHARS: Final = 255
_PRESENCES: Final = (ONLINE, UNAVAILABLE, "offline")

# PostgreSQL does not store NUL in a text, and UTF-8 cannot encode a surrogate.
_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")
_USER_ID: Final = re.compile(r"@[!-9;-~]*:[!-~]+")


@dataclass(frozen=True, slots=True)
class UserPresence:
    """The presence of a user."""

    presence: str
    status_msg: str | None

    @property
    def is_active(self) -> bool:
        """Whether the user is not offline, which requires a lease."""
        return self.presence in {ONLINE, UNAVAILABLE}


OFFLINE: Final = UserPresence("offline", None)


@dataclass(frozen=True, slots=True)
class PresenceUpdate:
    """The presence to set for one user."""

    user_id: str
    presence: UserPresence


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the presence of one user was not changed."""

    user_id: str
    errcode: str
    error: str


def parse(body: JsonDict, max_users: int) -> list[PresenceUpdate]:
    """Return the updates of a request. Raises SynapseError (400) if the body has another format."""
    users = body.get("users")
    if not isinstance(users, list):
        raise _error("'users' must be a list", Codes.BAD_JSON)
    if len(users) > max_users:
        raise _error(f"At most {max_users} users in one request, not {len(users)}", Codes.TOO_LARGE)
    return [_parse_update(position, user) for position, user in enumerate(users)]


def _parse_update(position: int, user: object) -> PresenceUpdate:
    where = f"users[{position}]"
    if not isinstance(user, dict):
        raise _error(f"{where} must be an object", Codes.BAD_JSON)
    user_id, presence, status_msg = user.get("user_id"), user.get("presence"), user.get("status_msg")
    if not isinstance(user_id, str):
        raise _error(f"{where}.user_id must be a string", Codes.BAD_JSON)
    if not isinstance(presence, str) or presence not in _PRESENCES:
        raise _error(f"{where}.presence must be one of {', '.join(_PRESENCES)}", Codes.BAD_JSON)
    if status_msg is not None and not isinstance(status_msg, str):
        raise _error(f"{where}.status_msg must be a string or null", Codes.BAD_JSON)
    return PresenceUpdate(user_id, UserPresence(presence, status_msg))


def check_updates(
    updates: Sequence[PresenceUpdate], is_owned: Callable[[str], bool]
) -> tuple[dict[str, UserPresence], list[Refusal]]:
    """Return the accepted presence by user, the last one if there are several, and the refusals.

    Args:
        updates: the updates of a request.
        is_owned: returns whether a valid user id is in an exclusive namespace of the application service.
    """
    accepted: dict[str, UserPresence] = {}
    refused = []
    for update in updates:
        refusal = _check(update, is_owned)
        if refusal is None:
            accepted[update.user_id] = update.presence
        else:
            refused.append(refusal)
    return accepted, refused


def _check(update: PresenceUpdate, is_owned: Callable[[str], bool]) -> Refusal | None:
    user_id, status_msg = update.user_id, update.presence.status_msg or ""
    if len(user_id) > _MAX_USER_ID_CHARS or not _USER_ID.fullmatch(user_id):
        return Refusal(user_id, Codes.INVALID_PARAM, "Not a user id")
    if not is_owned(user_id):
        return Refusal(user_id, Codes.FORBIDDEN, "Not a user of this server in an exclusive namespace of yours")
    if len(status_msg) > MAX_STATUS_MSG_CHARS:
        return Refusal(user_id, Codes.TOO_LARGE, f"A status_msg has at most {MAX_STATUS_MSG_CHARS} characters")
    if _UNSTORABLE.search(status_msg):
        return Refusal(user_id, Codes.INVALID_PARAM, "The status_msg contains NUL or a surrogate")
    return None


def _error(message: str, errcode: str) -> SynapseError:
    return SynapseError(400, message, errcode=errcode)
