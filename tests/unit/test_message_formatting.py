"""Mentions in the messages that citizens and agents write."""

from __future__ import annotations

import pytest

from daarion_appservice.city.agents import AgentDirectory
from daarion_appservice.city.identity import Identities
from daarion_appservice.city.message_formatting import MessageFormatter


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("@Citizen_U_1:City.Example", "u_1"),
        ("@citizen_u_1:city.example", "u_1"),
        ("@Alice:city.EXAMPLE", "@alice:City.Example"),
        ("@Alice:Elsewhere.example", "@Alice:Elsewhere.example"),
    ],
)
async def test_server_name_with_capitals_is_kept(name: str, subject: str) -> None:
    formatter = MessageFormatter(AgentDirectory(), Identities("City.Example", "city"))
    content = await formatter.content(name, msgtype="m.text", media=None)
    assert content.mentions == (subject,)
