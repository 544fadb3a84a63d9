"""The response models of agents, their heartbeats and tokens."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field
from typing_extensions import TypedDict

from .types import Count, PresenceFields, Timestamp


class AgentPresence(PresenceFields):
    """The presence of an agent."""

    agent_id: Annotated[str, Field(description="The agent id.", examples=["daarwizz"])]
    display_name: Annotated[str, Field(description="The display name.", examples=["DAARWIZZ"])]
    matrix_user_id: Annotated[
        str, Field(description="The Matrix user id of the agent's ghost.", examples=["@agent_daarwizz:daarion.space"])
    ]


class Agent(AgentPresence):
    """An agent of the registry, with its presence."""

    id: Annotated[str, Field(description="The agent id.", examples=["daarwizz"])]
    slug: Annotated[str, Field(description="The agent's name in paths.", examples=["daarwizz"])]
    title: Annotated[str | None, Field(description="The title.", examples=["Оркестратор microDAO"])]
    kind: Annotated[str | None, Field(description="The kind of agent.", examples=["assistant"])]
    avatar: Annotated[
        str | None,
        Field(
            description="The `mxc://` URI of the avatar; `null` for an avatar that was configured as a file.",
            examples=["mxc://daarion.space/daarwizz"],
        ),
    ]
    avatar_url: Annotated[
        str | None,
        Field(
            description="The path of the avatar on this server, also of one that was configured as a file; `null` for an "
            "agent without one, whose initials the pages show, and Matrix clients in a drawn avatar.",
            examples=["/city/media/daarion.space/daarwizz"],
        ),
    ]
    color: Annotated[str | None, Field(description="The color, `#rrggbb`.", examples=["#3b82f6"])]
    node_id: Annotated[str | None, Field(description="The node on which the agent runs.", examples=["node-kyiv-1"])]
    node_role: Annotated[str | None, Field(description="The agent's role on its node.", examples=["guardian"])]
    microdao: Annotated[str | None, Field(description="The slug of the agent's microDAO.", examples=["daarion"])]
    microdao_role: Annotated[
        str | None, Field(description="The agent's role in its microDAO.", examples=["orchestrator"])
    ]
    role: Annotated[str | None, Field(description="The agent's main role.", examples=["orchestrator"])]
    district: Annotated[
        str | None,
        Field(
            description="The district id: the agent's own, otherwise that of its node, otherwise that of its microDAO.",
            examples=["podil"],
        ),
    ]
    rooms: Annotated[
        list[str],
        Field(
            description="The slugs of the rooms that the registry assigns to the agent. Rooms that are not public are listed "
            "for admins only.",
            examples=[["general", "podil"]],
        ),
    ]


class HeartbeatResult(AgentPresence):
    """The presence of an agent after a heartbeat, and when the next heartbeat is due."""

    next_heartbeat_ms: Annotated[
        Count | None,
        Field(description="Milliseconds until the next heartbeat is due; `null` after `offline`.", examples=[20000]),
    ]
    expires_in_ms: Annotated[
        Count, Field(description="Milliseconds until the session ends without a heartbeat.", examples=[40000])
    ]


class HeartbeatError(TypedDict):
    """The error of one heartbeat in a batch."""

    agent_id: Annotated[Any, Field(description="The `agent_id` of the heartbeat, as sent.", examples=["nobody"])]
    code: Annotated[str, Field(description="The error code, as in a `Problem`.", examples=["no_such_agent"])]
    detail: Annotated[str, Field(description="The error in words.", examples=["there is no agent 'nobody'"])]


class HeartbeatResults(TypedDict):
    """The results of a batch of heartbeats."""

    results: Annotated[
        list[HeartbeatResult | HeartbeatError],
        Field(description="One result or error for each heartbeat, in the order of the request."),
    ]


class AgentToken(TypedDict):
    """An agent's token without its secret."""

    id: Annotated[
        str,
        Field(
            description="The token id: the part between `agt_` and the next `_`.",
            examples=["01M80JJAXGAGENT0T0KEN00000"],
        ),
    ]
    created_at: Annotated[Timestamp, Field(description="The time of creation.")]
    revoked_at: Annotated[
        Timestamp | None,
        Field(description="The time of revocation; `null` for a valid token.", examples=["2026-11-22T18:05:05.103Z"]),
    ]


class NewAgentToken(AgentToken):
    """A new token of an agent, with its secret."""

    token: Annotated[
        str,
        Field(
            description="The bearer token. It is returned only once.",
            examples=["agt_01M80JJAXGAGENT0T0KEN00000_kZ8dT1nq4XwWmY0s7ZfOeYb2r6CjUhPqLg9vKxSaE3c"],
        ),
    ]
