"""What a request wants: which user is to be shown how. Checked here, once."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from synapse.module_api import JsonDict
from synapse.module_api.errors import Codes, SynapseError

ONLINE: Final = "online"
UNAVAILABLE: Final = "unavailable"

STATUS_MSG_CHARACTERS: Final = 1024
"""The longest status text: everybody in the ghost's rooms is sent it with each change."""

_USER_ID_CHARACTERS: Final = 255
_PRESENCES: Final = (ONLINE, UNAVAILABLE, "offline")

# PostgreSQL takes no NUL in a text, and no half of a surrogate pair can be written as UTF-8.
_NO_TEXT: Final = re.compile("[\0\ud800-\udfff]")
_USER_ID: Final = re.compile(r"@[!-9;-~]*:[!-~]+")


@dataclass(frozen=True, slots=True)
class Shown:
    """How a user is shown to others."""

    presence: str
    status_msg: str | None

    @property
    def is_up(self) -> bool:
        """Not offline: shown so only as long as somebody stands for it."""
        return self.presence in {ONLINE, UNAVAILABLE}


OFFLINE: Final = Shown("offline", None)


@dataclass(frozen=True, slots=True)
class Wish:
    user_id: str
    shown: Shown


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one user of a request was left as it was."""

    user_id: str
    errcode: str
    error: str


def parse(body: JsonDict, most: int) -> list[Wish]:
    """The wishes in a request's body. Raises SynapseError (400) when any of it is not of the right shape."""
    users = body.get("users")
    if not isinstance(users, list):
        raise _bad("'users' must be a list", Codes.BAD_JSON)
    if len(users) > most:
        raise _bad(f"At most {most} users in one request, not {len(users)}", Codes.TOO_LARGE)
    return [_wish(position, user) for position, user in enumerate(users)]


def _wish(position: int, user: object) -> Wish:
    where = f"users[{position}]"
    if not isinstance(user, dict):
        raise _bad(f"{where} must be an object", Codes.BAD_JSON)
    user_id, presence, status_msg = user.get("user_id"), user.get("presence"), user.get("status_msg")
    if not isinstance(user_id, str):
        raise _bad(f"{where}.user_id must be a string", Codes.BAD_JSON)
    if not isinstance(presence, str) or presence not in _PRESENCES:
        raise _bad(f"{where}.presence must be one of {', '.join(_PRESENCES)}", Codes.BAD_JSON)
    if status_msg is not None and not isinstance(status_msg, str):
        raise _bad(f"{where}.status_msg must be a string or null", Codes.BAD_JSON)
    return Wish(user_id, Shown(presence, status_msg))


def sort_out(wishes: Sequence[Wish], is_ours: Callable[[str], bool]) -> tuple[dict[str, Shown], list[Refusal]]:
    """What may be done, by user (the last wish for one counts), and what not. ``is_ours`` is asked of user ids only."""
    granted: dict[str, Shown] = {}
    refused = []
    for wish in wishes:
        refusal = _refusal(wish, is_ours)
        if refusal is None:
            granted[wish.user_id] = wish.shown
        else:
            refused.append(refusal)
    return granted, refused


def _refusal(wish: Wish, is_ours: Callable[[str], bool]) -> Refusal | None:
    user_id, status_msg = wish.user_id, wish.shown.status_msg or ""
    if len(user_id) > _USER_ID_CHARACTERS or not _USER_ID.fullmatch(user_id):
        return Refusal(user_id, Codes.INVALID_PARAM, "Not a user id")
    if not is_ours(user_id):
        return Refusal(user_id, Codes.FORBIDDEN, "Not a user of this server in an exclusive namespace of yours")
    if len(status_msg) > STATUS_MSG_CHARACTERS:
        return Refusal(user_id, Codes.TOO_LARGE, f"A status_msg has at most {STATUS_MSG_CHARACTERS} characters")
    if _NO_TEXT.search(status_msg):
        return Refusal(user_id, Codes.INVALID_PARAM, "The status_msg holds a NUL or half a surrogate pair")
    return None


def _bad(message: str, errcode: str) -> SynapseError:
    return SynapseError(400, message, errcode=errcode)
