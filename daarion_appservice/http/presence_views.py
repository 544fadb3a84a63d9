"""The JSON representations of presence."""

from __future__ import annotations

from ..city.presence import PresenceState
from ..city.types import UserId
from . import schemas


def presence_fields(state: PresenceState, now_ms: int) -> schemas.PresenceFields:
    return {
        "presence": state.status,
        "last_active_ago_ms": None if state.last_active_ms is None else max(0, now_ms - state.last_active_ms),
        "status_msg": state.status_msg,
    }


def user_presence(user: UserId, state: PresenceState, now_ms: int) -> schemas.MatrixPresence:
    return {"user_id": user, **presence_fields(state, now_ms)}
