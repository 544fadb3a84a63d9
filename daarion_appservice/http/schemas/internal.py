"""The response models of the matrix listener."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

from .types import PresenceFields


class MatrixPresence(PresenceFields):
    """The presence of a Matrix user."""

    user_id: Annotated[str, Field(description="The Matrix user id.", examples=["@oksana:daarion.space"])]


class MatrixPresences(TypedDict):
    """The presence of several Matrix users."""

    presences: Annotated[list[MatrixPresence], Field(description="One entry for each id, in the order of the request.")]


class GhostHeartbeatResult(TypedDict):
    """The confirmation of a heartbeat."""

    ok: Annotated[Literal[True], Field(description="Always true.", examples=[True])]
    matrix_user_id: Annotated[
        str, Field(description="The Matrix user id of the ghost.", examples=["@citizen_u_123:daarion.space"])
    ]
    status: Annotated[
        Literal["online", "away", "unavailable", "offline"],
        Field(description="The status of the request.", examples=["online"]),
    ]


class Liveness(TypedDict):
    """The liveness of the process."""

    status: Annotated[Literal["ok"], Field(description="Always `ok`.", examples=["ok"])]


class Readiness(TypedDict):
    """The readiness of the process, with the state of each dependency."""

    status: Annotated[Literal["ok", "not ready"], Field(description="Whether the process is ready.", examples=["ok"])]
    checks: Annotated[
        dict[str, str],
        Field(
            description="`ok` or the reason, by dependency: `database`, `homeserver`, `rooms_and_ghosts`, `processes`, `tasks`, "
            "`deliveries` and, where it is configured, `redis`.",
            examples=[
                {
                    "database": "ok",
                    "homeserver": "ok",
                    "rooms_and_ghosts": "ok",
                    "processes": "ok",
                    "tasks": "ok",
                    "deliveries": "ok",
                }
            ],
        ),
    ]
