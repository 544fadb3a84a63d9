"""Replies of the demo's agents: rules without a language model. Every fact is read from the city at each request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from .client import CityClient, Json


@dataclass(frozen=True, slots=True)
class Bilingual:
    """A reply in both languages of the city."""

    uk: str
    en: str

    def in_language_of(self, request: str) -> str:
        """Return the reply in the language of the request."""
        return self.uk if _is_cyrillic(request) else self.en


@dataclass(frozen=True, slots=True)
class Request:
    """One request to an agent of the demo."""

    text: str
    room: str
    """Slug of the room that the request refers to if it names none."""
    author: str = ""
    """The subject that asks."""
    earlier: tuple[str, ...] = ()
    """Earlier requests of the same author, oldest first."""


@dataclass(frozen=True, slots=True)
class Skill:
    """A kind of request that an agent of the demo can reply to."""

    topic: Bilingual
    """The object of "I can tell …" in the list of skills."""
    stems: tuple[str, ...]
    """Substrings of the requests that match this skill."""
    reply: Callable[[CityClient, Request], Awaitable[Bilingual]]

    def matches(self, request: str) -> bool:
        return any(stem in request.lower() for stem in self.stems)


async def reply(city: CityClient, request: Request) -> str:
    """Return the agent's reply: by its first matching skill, else a list of its skills."""
    skills = ROLES.get((await city.myself())["role"], ())
    for skill in skills:
        if skill.matches(request.text):
            return (await skill.reply(city, request)).in_language_of(request.text)
    return Bilingual(
        uk="Я простий агент без мовної моделі. Можу сказати: " + "; ".join(skill.topic.uk for skill in skills) + ".",
        en="I am a simple agent without a language model. I can tell: "
        + "; ".join(skill.topic.en for skill in skills)
        + ".",
    ).in_language_of(request.text)


async def second_me(city: CityClient, request: Request) -> str:
    """Return Second Me's reply: what happens in the city, and the citizen's earlier requests."""
    facts = [(await skill.reply(city, request)).in_language_of(request.text) for skill in (BUSIEST, ONLINE)]
    earlier = Bilingual(
        uk="Раніше ти питав: " + "; ".join(f"«{_short(each)}»" for each in request.earlier) + ".",
        en="Before, you asked: " + "; ".join(f"“{_short(each)}”" for each in request.earlier) + ".",
    )
    return " ".join([*facts, *([earlier.in_language_of(request.text)] if request.earlier else [])])


async def _who_is_online(city: CityClient, request: Request) -> Bilingual:
    agents = [agent["display_name"] for agent in await city.agents() if agent["presence"] != "offline"]
    people = await _people_online(city, request.author)
    return Bilingual(
        uk=f"Агенти на місці: {_names(agents)}. Люди: {_names(people)}.",
        en=f"Agents here: {_names(agents)}. People: {_names(people)}.",
    )


async def _people_online(city: CityClient, author: str) -> list[str]:
    found = {}
    # The author is online, but becomes a member of the room only when Matrix confirms the join of the ghost.
    asking = await city.person(author) if author else None
    if asking is not None and asking["kind"] != "agent":
        found[asking["id"]] = asking["display_name"]
    for room in await city.rooms():
        for member in (await city.room(room["slug"]))["online_members"]:
            if member["kind"] != "agent":
                found[member["id"]] = member["display_name"] or member["id"]
    return sorted(found.values())


async def _rooms(city: CityClient, _: Request) -> Bilingual:
    rooms = await city.rooms()
    return Bilingual(
        uk="Кімнати: " + "; ".join(f"{room['name']} — онлайн {room['members_online']}" for room in rooms) + ".",
        en="Rooms: " + "; ".join(f"{room['name']}, {room['members_online']} online" for room in rooms) + ".",
    )


async def _busiest_room(city: CityClient, _: Request) -> Bilingual:
    rooms = [room for room in await city.rooms() if not room["archived"]]
    if not rooms:
        return Bilingual(uk="У місті ще немає кімнат.", en="The city has no rooms yet.")
    best = max(rooms, key=lambda room: (room["members_online"], room["last_event"] or ""))
    return Bilingual(
        uk=f"Найжвавіше зараз у {best['name']}: онлайн {best['members_online']}. {best['description']}",
        en=f"{best['name']} is the liveliest now: {best['members_online']} online. {best['description']}",
    )


async def _last_messages(city: CityClient, request: Request) -> Bilingual:
    slug = next((room["slug"] for room in await city.rooms() if _names_room(request.text, room)), request.room)
    room = await city.room(slug)
    messages = [message for message in room["messages"] if not message["deleted"]]
    if not messages:
        return Bilingual(uk=f"У {room['name']} ще ніхто не писав.", en=f"There are no messages in {room['name']} yet.")
    authors = Counter(_author(message) for message in messages)
    shares = ", ".join(f"{author} ({count})" for author, count in authors.most_common())
    last = " · ".join(f"{_author(message)}: {_short(message['body'])}" for message in messages[-3:])
    return Bilingual(
        uk=f"{room['name']}, останні повідомлення ({len(messages)}), від {messages[0]['created_at']}: {shares}. {last}",
        en=f"{room['name']}, the last {len(messages)} messages, since {messages[0]['created_at']}: {shares}. {last}",
    )


async def _node_presence(city: CityClient, _: Request) -> Bilingual:
    node, agents = await _node_agents(city)
    not_online = [agent for agent in agents if agent["presence"] != "online"]
    if not not_online:
        names = _names([agent["display_name"] for agent in agents])
        return Bilingual(uk=f"{node}: усі агенти онлайн: {names}.", en=f"{node}: all agents are online: {names}.")
    gone = _names([f"{agent['display_name']} ({agent['presence']})" for agent in not_online])
    counts = f"{len(agents) - len(not_online)}/{len(agents)}"
    return Bilingual(uk=f"{node}: онлайн {counts}; немає: {gone}.", en=f"{node}: {counts} online; missing: {gone}.")


async def _node_residents(city: CityClient, _: Request) -> Bilingual:
    node, agents = await _node_agents(city)
    each = "; ".join(f"{agent['display_name']}: {agent['title']}" for agent in agents)
    return Bilingual(uk=f"На {node} живуть: {each}.", en=f"On {node} live: {each}.")


async def _node_agents(city: CityClient) -> tuple[str, list[Json]]:
    """Return the agent's node and all agents on it."""
    node: str = (await city.myself())["node_id"]
    return node, await city.agents(node_id=node)


def _author(message: Json) -> str:
    name: str = message["author"]["display_name"] or message["author"]["id"]
    return name


def _names_room(text: str, room: Json) -> bool:
    return room["slug"] in text.lower() or room["name"].lower() in text.lower()


def _names(names: list[str]) -> str:
    return ", ".join(names) or "—"


def _short(text: str, limit: int = 80) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _is_cyrillic(text: str) -> bool:
    return any("а" <= letter <= "я" or letter in "іїєґ" for letter in text.lower())


ONLINE: Final = Skill(Bilingual("хто онлайн", "who is online"), ("онлайн", "online", "хто", "who"), _who_is_online)
ROOMS: Final = Skill(Bilingual("які є кімнати", "which rooms there are"), ("кімнат", "room"), _rooms)
BUSIEST: Final = Skill(
    Bilingual("де зараз найжвавіше", "where it is liveliest"), ("куди", "де ", "where", "start", "почат"), _busiest_room
)
SUMMARY: Final = Skill(
    Bilingual("про що писали в кімнаті", "what was written in a room"),
    ("підсум", "писали", "новин", "summ", "written", "happen", "news"),
    _last_messages,
)
NODE_PRESENCE: Final = Skill(
    Bilingual("чи всі агенти мого вузла на місці", "whether all agents of my node are here"),
    ("стан", "здоров", "онлайн", "вузол", "вузл", "health", "status", "online", "node"),
    _node_presence,
)
NODE_RESIDENTS: Final = Skill(
    Bilingual("хто живе на моєму вузлі", "who lives on my node"),
    ("хто", "жив", "вузл", "who", "live", "node"),
    _node_residents,
)

ROLES: Final[dict[str, tuple[Skill, ...]]] = {
    "orchestrator": (ROOMS, ONLINE),
    "guardian": (NODE_PRESENCE,),
    "steward": (NODE_RESIDENTS,),
    "scribe": (SUMMARY,),
    "guide": (BUSIEST, ROOMS),
}
