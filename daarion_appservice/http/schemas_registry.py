"""The response models of the registry for ``/openapi.json``; tests compare them with the responses of ``routes/registry.py``."""

from __future__ import annotations

from pydantic import BaseModel, Field

from .schemas import Agent, AgentPresence, Count, Moment


class Place(BaseModel):
    name: str = Field(description="Its name; its id where nobody described it.", examples=["Поділ"])
    agents_total: Count = Field(description="How many agents live there.", examples=[5])
    agents_online: Count = Field(description="How many of them are not offline.", examples=[4])


class Node(Place):
    """A node, and who looks after it."""

    id: str = Field(description="Its id.", examples=["node-kyiv-1"])
    description: str = Field(description="What it is.", examples=["Перший вузол міста"])
    district: str | None = Field(description="The district that it lies in.", examples=["podil"])
    guardian: AgentPresence | None = Field(description="The agent with the role `guardian` there.")
    steward: AgentPresence | None = Field(description="The agent with the role `steward` there.")


class NodeDetails(Node):
    """A node with everybody who lives there."""

    agents: list[Agent] = Field(description="Its agents, by slug.")


class MicroDao(Place):
    """A microDAO, and who looks after it."""

    slug: str = Field(description="Its name in addresses.", examples=["daarion"])
    description: str = Field(description="What it is.", examples=["Спільнота будівників міста"])
    district: str | None = Field(description="The district that it lies in.", examples=["podil"])
    orchestrator: AgentPresence | None = Field(description="The agent with the role `orchestrator` there.")


class MicroDaoDetails(MicroDao):
    """A microDAO with everybody who belongs to it."""

    agents: list[Agent] = Field(description="Its agents, by slug.")


class District(Place):
    """A part of the city."""

    id: str = Field(description="Its id.", examples=["podil"])
    nodes: list[str] = Field(description="Ids of its nodes.", examples=[["node-kyiv-1"]])
    microdaos: list[str] = Field(description="Slugs of its microDAOs.", examples=[["daarion"]])


class AgentToken(BaseModel):
    """What is known of a token; its secret is not."""

    id: str = Field(description="Its id: what stands between `agt_` and `_`.", examples=["01M80JJAXGAGENT0T0KEN00000"])
    created_at: Moment = Field(description="When it was made.")
    revoked_at: Moment | None = Field(
        description="When it was revoked; `null` while it counts.", examples=["2026-11-22T18:05:05.103Z"]
    )


class NewAgentToken(AgentToken):
    """A token that was made just now."""

    token: str = Field(
        description="What the agent proves itself with. It is shown this once.",
        examples=["agt_01M80JJAXGAGENT0T0KEN00000_kZ8dT1nq4XwWmY0s7ZfOeYb2r6CjUhPqLg9vKxSaE3c"],
    )


class Difference(BaseModel):
    """What an import did to one part of the registry."""

    added: Count = Field(description="How many came.", examples=[1])
    changed: Count = Field(description="How many are described differently now.", examples=[2])
    unchanged: Count = Field(description="How many were so already.", examples=[40])
    removed: Count = Field(description="How many are gone.", examples=[0])


class Imported(BaseModel):
    """What an import did."""

    agents: Difference = Field(description="To the agents.")
    nodes: Difference = Field(description="To the nodes.")
    microdaos: Difference = Field(description="To the microDAOs.")
    districts: Difference = Field(description="To the districts.")
