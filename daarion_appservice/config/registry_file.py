"""The registry as a YAML or JSON document: districts, nodes, microDAOs and agents; examples/registry.yaml shows one.

A missing part is left unchanged in the registry. All errors are reported at once, each with its place:
``agents[3].slug: …``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final

from pydantic import Field, ValidationError

from ..city.places import Place, PlaceKind
from ..city.registry import AGENTS, SECTIONS, Description
from ..city.types import Agent, AgentSlug
from ..errors import InvalidInput
from .errors import dotted, error_sentence
from .settings import AgentSeed, Section
from .values import PlaceId, ValuePath


class DistrictEntry(Section):
    id: PlaceId
    name: str = Field("", max_length=255)


class NodeEntry(Section):
    id: PlaceId
    name: str = Field("", max_length=255)
    description: str = Field("", max_length=2000)
    district: str = Field("", max_length=255)


class MicroDaoEntry(Section):
    slug: PlaceId
    name: str = Field("", max_length=255)
    description: str = Field("", max_length=2000)
    district: str = Field("", max_length=255)


class RegistryFile(Section):
    districts: list[DistrictEntry] = Field([])
    nodes: list[NodeEntry] = Field([])
    microdaos: list[MicroDaoEntry] = Field([])
    agents: list[AgentSeed] = Field([])


_NAMED_BY: Final = {"districts": "id", "nodes": "id", "microdaos": "slug", "agents": "slug"}
_ENTRIES: Final[dict[str, type[Section]]] = {
    "districts": DistrictEntry,
    "nodes": NodeEntry,
    "microdaos": MicroDaoEntry,
    "agents": AgentSeed,
}


class RegistryErrors(InvalidInput):
    """All errors of a registry document by place."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__("invalid", "\n".join(f"{where}: {what}" for where, what in errors.items()), status=422)
        self.errors = errors


def read(content: Any, *, files: bool = True) -> RegistryFile:
    """Validate a registry document.

    Args:
        files: whether an avatar may be the name of a file.

    Raises:
        RegistryErrors: all errors of the document at once.
    """
    found: dict[ValuePath, str] = {}
    registry = RegistryFile()
    try:
        registry = RegistryFile.model_validate(content)
    except ValidationError as error:
        for each in error.errors(include_url=False):
            found.setdefault(each["loc"], _unknown(each["loc"]) if _is_unknown(each["type"]) else error_sentence(each))
    if isinstance(content, dict):
        for where, what in _beyond_fields(content, files=files):
            found.setdefault(where, what)
    if found:
        order = {name: number for number, name in enumerate(RegistryFile.model_fields)}
        places = sorted(
            found, key=lambda where: (order.get(str(where[0]) if where else "", -1), where[1:2], str(where))
        )
        raise RegistryErrors({dotted(where) or "the registry": found[where] for where in places})
    return registry


def entry_description_of(registry: RegistryFile) -> Description:
    """Convert a document into a description of the registry; parts that the document lacks are None or missing."""
    given = registry.model_fields_set
    places = {
        PlaceKind.DISTRICT: [Place(PlaceKind.DISTRICT, each.id, each.name or each.id) for each in registry.districts],
        PlaceKind.NODE: [
            Place(PlaceKind.NODE, each.id, each.name or each.id, each.description, each.district)
            for each in registry.nodes
        ],
        PlaceKind.MICRODAO: [
            Place(PlaceKind.MICRODAO, each.slug, each.name or each.slug, each.description, each.district)
            for each in registry.microdaos
        ],
    }
    return Description(
        tuple(agent_of(seed) for seed in registry.agents) if AGENTS in given else None,
        {kind: tuple(described) for kind, described in places.items() if SECTIONS[kind] in given},
    )


def agent_of(seed: AgentSeed) -> Agent:
    return Agent(
        id=seed.slug,
        slug=AgentSlug(seed.slug),
        display_name=seed.display_name,
        title=seed.title,
        avatar=seed.avatar,
        node_id=seed.node_id,
        microdao=seed.microdao,
        role=seed.role,
        rooms=tuple(seed.rooms),
        kind=seed.kind,
        color=seed.color,
        district=seed.district,
        node_role=seed.node_role,
        microdao_role=seed.microdao_role,
    )


def _beyond_fields(content: dict[Any, Any], *, files: bool) -> Iterator[tuple[ValuePath, str]]:
    """Yield errors between several entries, and errors that the type of a single field does not find."""
    for section, key in _NAMED_BY.items():
        entries = content.get(section)
        taken: dict[str, int] = {}
        for number, entry in enumerate(entries if isinstance(entries, list) else ()):
            if not isinstance(entry, dict):
                continue
            yield from _unstorable((section, number), entry)
            name = entry.get(key)
            if isinstance(name, str) and taken.setdefault(name, number) != number:
                yield (section, number, key), f"{name} is taken by {section}[{taken[name]}]"
            avatar = entry.get("avatar")
            if (
                not files
                and section == AGENTS
                and isinstance(avatar, str)
                and avatar
                and not avatar.startswith("mxc://")
            ):
                yield (section, number, "avatar"), "must be an mxc:// address: files are only read on the command line"


def _unstorable(where: ValuePath, entry: dict[Any, Any]) -> Iterator[tuple[ValuePath, str]]:
    for key, value in entry.items():
        texts = value if isinstance(value, list) else [value]
        if isinstance(key, str) and any(isinstance(text, str) and not _is_storable(text) for text in texts):
            yield (*where, key), "must not hold U+0000 or half a surrogate pair"


def _is_storable(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= each <= "\udfff" for each in text)


def _is_unknown(kind: str) -> bool:
    return kind == "extra_forbidden"


def _unknown(where: ValuePath) -> str:
    beside: type[Section] = _ENTRIES[str(where[0])] if len(where) > 1 else RegistryFile
    known = list(beside.model_fields)
    if close := get_close_matches(str(where[-1]), known, n=1):
        return f"is not a key; did you mean {close[0]}?"
    return f"is not a key; there are {', '.join(known)}"
