"""The response models of the matrix listener."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

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


class ReadinessPart(TypedDict):
    """The state of one part of the process."""

    status: Annotated[
        Literal["ok", "warning", "failed"],
        Field(description="`failed` makes the process not ready, `warning` does not.", examples=["ok"]),
    ]
    detail: Annotated[str, Field(description="The state as a sentence.", examples=["the last ping arrived 12 s ago"])]
    age_s: Annotated[
        float | None,
        Field(
            description="The seconds since what `detail` names: the last ping (`callback`) or the last transaction with events "
            "(`transactions`).",
            examples=[12.3],
        ),
    ]


class Readiness(TypedDict):
    """The readiness of the process, with the state of each part."""

    status: Annotated[Literal["ok", "not ready"], Field(description="Whether the process is ready.", examples=["ok"])]
    checks: Annotated[
        dict[str, str],
        Field(
            description="`ok` or the reason, by part: `database`, `disk`, `homeserver`, `rooms_and_ghosts`, `rooms`, "
            "`processes`, `tasks`, `deliveries` and, where it is configured, `redis`.",
            examples=[
                {
                    "database": "ok",
                    "disk": "ok",
                    "homeserver": "ok",
                    "rooms_and_ghosts": "ok",
                    "rooms": "ok",
                    "processes": "ok",
                    "tasks": "ok",
                    "deliveries": "ok",
                }
            ],
        ),
    ]
    role: NotRequired[
        Annotated[
            Literal["leader", "standby"],
            Field(description="With `verbose`: whether this process is the leader.", examples=["leader"]),
        ]
    ]
    version: NotRequired[
        Annotated[str, Field(description="With `verbose`: the version of the service.", examples=["0.1.0"])]
    ]
    parts: NotRequired[
        Annotated[
            dict[str, ReadinessPart],
            Field(
                description="With `verbose`: the state of each part. Besides those of `checks`: `as_token` (accepted by the "
                "homeserver), `callback` (the homeserver reaches the service), `transactions`, `encryption`."
            ),
        ]
    ]
