"""The response models of nodes, microDAOs and districts, and of imports into the registry."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from .agents import Agent, AgentPresence
from .types import Count


class PlaceCounts(TypedDict):
    """The number of agents of a place."""

    agents_total: Annotated[Count, Field(description="The number of agents.", examples=[5])]
    agents_online: Annotated[Count, Field(description="The number of agents that are not offline.", examples=[4])]


class Place(PlaceCounts):
    """The common fields of nodes and microDAOs."""

    name: Annotated[str, Field(description="The name; the id if none is set.", examples=["Поділ"])]
    description: Annotated[str, Field(description="The description.", examples=["Перший вузол міста"])]
    district: Annotated[str | None, Field(description="The district id.", examples=["podil"])]


class Node(Place):
    """A node of the registry, with its guardian and steward."""

    id: Annotated[str, Field(description="The node id.", examples=["node-kyiv-1"])]
    guardian: Annotated[
        AgentPresence | None,
        Field(description="The agent with the role `guardian` on the node; of several the first by slug."),
    ]
    steward: Annotated[
        AgentPresence | None,
        Field(description="The agent with the role `steward` on the node; of several the first by slug."),
    ]


class NodeDetails(Node):
    """A node with its agents."""

    agents: Annotated[list[Agent], Field(description="The agents of the node, ordered by slug.")]


class MicroDao(Place):
    """A microDAO of the registry, with its orchestrator."""

    slug: Annotated[str, Field(description="The microDAO's name in paths.", examples=["daarion"])]
    orchestrator: Annotated[
        AgentPresence | None,
        Field(description="The agent with the role `orchestrator` in the microDAO; of several the first by slug."),
    ]


class MicroDaoDetails(MicroDao):
    """A microDAO with its agents."""

    agents: Annotated[list[Agent], Field(description="The agents of the microDAO, ordered by slug.")]


class District(PlaceCounts):
    """A district of the city, with its nodes and microDAOs."""

    id: Annotated[str, Field(description="The district id.", examples=["podil"])]
    name: Annotated[str, Field(description="The name; the id if none is set.", examples=["Поділ"])]
    nodes: Annotated[list[str], Field(description="The ids of the district's nodes.", examples=[["node-kyiv-1"]])]
    microdaos: Annotated[list[str], Field(description="The slugs of the district's microDAOs.", examples=[["daarion"]])]


class ImportCounts(TypedDict):
    """The number of changes of an import in one part of the registry."""

    added: Annotated[Count, Field(description="The number of new entries.", examples=[1])]
    changed: Annotated[Count, Field(description="The number of changed entries.", examples=[2])]
    unchanged: Annotated[Count, Field(description="The number of entries that were equal already.", examples=[40])]
    removed: Annotated[Count, Field(description="The number of removed entries.", examples=[0])]


class ImportResult(TypedDict):
    """The changes of an import."""

    agents: Annotated[ImportCounts, Field(description="The changes of agents.")]
    nodes: Annotated[ImportCounts, Field(description="The changes of nodes.")]
    microdaos: Annotated[ImportCounts, Field(description="The changes of microDAOs.")]
    districts: Annotated[ImportCounts, Field(description="The changes of districts.")]
