"""Mentions in the messages that citizens and agents write."""

from __future__ import annotations

import pytest

from daarion_appservice.city.agent_mentions import AgentMentions
from daarion_appservice.city.agents import AgentDirectory
from daarion_appservice.city.identity import Identities
from daarion_appservice.city.message_formatting import MessageFormatter
from daarion_appservice.city.types import Agent, AgentSlug

IDENTITIES = Identities("City.Example", "city")


async def mentions(text: str, *known: str, agents: AgentDirectory | None = None) -> tuple[str, ...]:
    """Return the subjects that a text mentions; ``known`` are the members of rooms."""
    formatter = MessageFormatter(agents or AgentDirectory(), IDENTITIES, set(known).__contains__)
    return (await formatter.content(text, msgtype="m.text", media=None)).mentions


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("@Citizen_U_1:City.Example", "u_1"),
        ("@citizen_u_1:city.example", "u_1"),
        ("@Agent_Scribe:city.example", "agent:scribe"),
        ("@Alice:Elsewhere.example", "@Alice:Elsewhere.example"),
        ("@alice:city.EXAMPLE", "@alice:City.Example"),
    ],
)
async def test_server_name_with_capitals_is_kept(name: str, subject: str) -> None:
    assert await mentions(name) == (subject,)


@pytest.mark.parametrize(
    ("known", "mentioned"),
    [
        (["@Alice:City.Example", "@alice:City.Example"], ["@Alice:City.Example"]),
        (["@Alice:City.Example"], ["@Alice:City.Example"]),
        (["@alice:City.Example"], ["@alice:City.Example"]),
        ([], []),
        (["@ALICE:City.Example"], []),
    ],
)
async def test_capitals_mention_the_user_who_has_them(known: list[str], mentioned: list[str]) -> None:
    assert await mentions("hello @Alice:city.example", *known) == tuple(mentioned)


async def test_id_without_capitals_never_means_another() -> None:
    assert await mentions("@alice:city.example", "@Alice:City.Example") == ("@alice:City.Example",)


@pytest.mark.parametrize(
    ("text", "mentioned"),
    [
        ("@John Smith:city.example", []),
        ("@John Smith of York:City.Example, hello", []),
        ("@John, see @John Smith:city.example", ["agent:john"]),
        ("@john look here", ["agent:john"]),
        ("@john meet at 12:30", ["agent:john"]),
        ("@john ask @alice:city.example", ["agent:john", "@alice:City.Example"]),
        ("@john Smith:elsewhere.example", ["agent:john"]),
        ("@john see #general:city.example", ["agent:john"]),
        ("@john 🌻 (#general:city.example)", ["agent:john"]),
        ("@john see matrix.to/#/#general:city.example", ["agent:john"]),
        ("@john see !abc:city.example", ["agent:john"]),
        ("@john see $abc:city.example", ["agent:john"]),
        ("#general:city.example, @john", ["agent:john"]),
        ("@john! Smith:city.example", []),
    ],
)
async def test_id_with_spaces_mentions_nobody(text: str, mentioned: list[str]) -> None:
    agents = AgentDirectory()
    agents.replace([Agent("john", AgentSlug("john"), "John")])
    assert await mentions(text, agents=agents) == tuple(mentioned)
    found = AgentMentions(agents, IDENTITIES).mentioned_agents(text)
    assert found == [each.removeprefix("agent:") for each in mentioned if each.startswith("agent:")]
