"""Agent mentions in texts."""

from __future__ import annotations

import unicodedata

import pytest

from daarion_appservice.city.agent_mentions import AgentMentions
from daarion_appservice.city.agents import AgentDirectory
from daarion_appservice.city.types import Agent, AgentSlug
from tests.parts.messaging import IDENTITIES

AGENTS = [
    ("daarwizz", "DAARWIZZ"),
    ("scribe", "Писар"),
    ("second_me", "Second Me"),
    ("dr-who", "Dr. Who?"),
    ("me", "Second"),
    ("guard", "Вартовий"),
]
USER = "@agent_scribe:city.localhost"


@pytest.fixture
def addressing() -> AgentMentions:
    agents = AgentDirectory()
    agents.replace(Agent(slug, AgentSlug(slug), name) for slug, name in AGENTS)
    return AgentMentions(agents, IDENTITIES)


@pytest.mark.parametrize(
    "body",
    [
        "@daarwizz: що нового?",
        "@daarwizz що нового?",
        "@daarwizz, що нового?",
        "@DAARWIZZ: що нового?",
        "@DaarWizz",
        "daarwizz: що нового?",
        "DAARWIZZ, що нового?",
        "DAARWIZZ що нового",
        "  **DAARWIZZ**, що нового?",
        "Що нового, @daarwizz?",
        "Що нового (@daarwizz)?",
        "Що нового? @daarwizz.",
        "@daarwizz's turn",
        "@daarwizz:привіт",
        "@daarwizz:hello",
        "@daarwizz @daarwizz",
        "daarwizz, @daarwizz",
        "@daarwizz — де ти?",
        "**@daarwizz** де ти?",
        "рядок\n@daarwizz рядок",
        "> цитата\n\n@daarwizz так?",
    ],
)
def test_agent_is_addressed(addressing: AgentMentions, body: str) -> None:
    # A name without a sign after it begins sentences about the agent.
    assert addressing.mentioned_agents(body) == ([] if body == "DAARWIZZ що нового" else ["daarwizz"])


@pytest.mark.parametrize(
    ("body", "slug"),
    [
        ("@Писар де архів?", "scribe"),
        ("писар: де архів?", "scribe"),
        ("Де архів, @Писар?", "scribe"),
        (f"{USER}: де архів?", "scribe"),
        (f"де архів {USER}", "scribe"),
        (f"де архів, {USER.upper().replace('@AGENT', '@agent')}?", "scribe"),
        ("Second Me, що я питала?", "second_me"),
        ("@Second Me що я питала?", "second_me"),
        ("@second_me?", "second_me"),
        ("@Second: так?", "me"),
        ("Dr. Who?, де ви", "dr-who"),
        ("Dr. Who?", "dr-who"),
        ("@Dr. Who? де ви", "dr-who"),
        ("@dr-who де ви", "dr-who"),
        (unicodedata.normalize("NFD", "@Вартовий де ви"), "guard"),
        (unicodedata.normalize("NFD", "Вартовий, де ви"), "guard"),
    ],
)
def test_agent_is_addressed_by_each_of_its_names(addressing: AgentMentions, body: str, slug: str) -> None:
    assert addressing.mentioned_agents(body) == [slug]


@pytest.mark.parametrize(
    "body",
    [
        "`@daarwizz: що нового?`",
        "```\n@daarwizz: що нового?\n```",
        "    @daarwizz: що нового?",
        "> @daarwizz: що нового?",
        "> daarwizz, що нового?",
        "[@daarwizz](https://example.org)",
        "https://example.org/@daarwizz",
        "https://example.org/a-@daarwizz:5",
        "mail@daarwizz.example",
        "a@daarwizz",
        "@daarwizz-bot",
        "@daarwizzard: hi",
        "@daarwizz.example.org:server.org",
        "@agent_scribe:evil.example: hi",
        "@scribe:evil.example: hi",
        "DAARWIZZ десь є",
        "Писар десь є",
        "@@daarwizz",
        "",
        "@",
        " " * 5_000 + "@",
    ],
)
def test_text_without_address_addresses_no_agent(addressing: AgentMentions, body: str) -> None:
    assert addressing.mentioned_agents(body) == []


def test_several_are_addressed_each_once(addressing: AgentMentions) -> None:
    assert addressing.mentioned_agents("Писар, @daarwizz і @scribe: ви де?") == ["scribe", "daarwizz"]


def test_many_signs_are_read_in_bounds(addressing: AgentMentions) -> None:
    assert addressing.mentioned_agents("@a " * 20_000 + "@daarwizz") == []
    assert addressing.mentioned_agents("x" * 40_000) == []
