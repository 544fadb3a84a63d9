"""Response models of the encryption devices of agents."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from .types import Count, Timestamp


class AgentEncryption(TypedDict):
    """The encryption device of an agent, with counts."""

    agent_id: Annotated[str, Field(description="The id of the agent.", examples=["scribe"])]
    matrix_user_id: Annotated[
        str, Field(description="The Matrix user of the agent.", examples=["@agent_scribe:daarion.space"])
    ]
    device_id: Annotated[
        str | None,
        Field(description="The Matrix device with the keys; `null` without keys.", examples=["CITY_E2EE_9F86D081884C"]),
    ]
    uploaded: Annotated[
        bool,
        Field(description="Whether the homeserver has the device keys and the cross-signing keys.", examples=[True]),
    ]
    reset_requested: Annotated[
        bool, Field(description="Whether the agent is about to get a new device.", examples=[False])
    ]
    olm_sessions: Annotated[
        Count, Field(description="Olm sessions with devices of people, at most five for each.", examples=[12])
    ]
    outbound_sessions: Annotated[Count, Field(description="Rooms in which the agent has encrypted.", examples=[3])]
    to_device_waiting: Annotated[Count, Field(description="To-device requests that are to be sent.", examples=[0])]
    waiting_events: Annotated[
        Count, Field(description="Events of the agent's chats that wait for their key.", examples=[0])
    ]


class EncryptionStatus(TypedDict):
    """The state of end-to-end encryption in the city."""

    enabled: Annotated[
        bool,
        Field(
            description="Whether the configuration turns encryption on: enabled, and with a pickle key.",
            examples=[True],
        ),
    ]
    agents: Annotated[list[AgentEncryption], Field(description="All agents of the registry.")]
    inbound_sessions: Annotated[
        Count, Field(description="Megolm sessions that can be read; all agents share them.", examples=[41])
    ]
    waiting_events: Annotated[Count, Field(description="Events that wait for their key.", examples=[0])]
    oldest_waiting_at: Annotated[
        Timestamp | None,
        Field(
            description="The time at which the oldest of them came; `null` if none waits.",
            examples=["2026-11-22T18:05:05.103Z"],
        ),
    ]
