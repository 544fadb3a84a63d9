"""Encryption as an administrator runs it: resets, the switch, and another pickle key, on a city with an encrypted chat."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from daarion_appservice.config import editing as config_edit
from daarion_appservice.errors import ExitCode
from tests.parts.city import ADMIN_TOKEN, eventually
from tests.parts.encrypted_city import DAARWIZZ, EncryptedCity, encrypted_city
from tests.parts.encrypted_user import EncryptedUser

pytestmark = pytest.mark.asyncio(loop_scope="module")

UNREADABLE = "I cannot read encrypted chats"
"""Words of an agent's notice, which cannot be encrypted."""
OTHER_KEY = base64.b64encode(bytes(range(32))).decode()


@dataclass(frozen=True)
class Identity:
    """What the homeserver has of an agent's keys."""

    devices: list[str]
    """The devices with keys."""
    master: str | None


@dataclass(frozen=True)
class Chat:
    """An encrypted chat with an agent, in which it answered."""

    city: EncryptedCity
    person: EncryptedUser
    room_id: str

    async def ask(self, question: str) -> None:
        """Ask the agent, and read its answer."""
        await self.city.ask(self.person, self.room_id, question)

    def identity(self) -> Identity:
        """Return the agent's keys on the homeserver."""
        devices = self.city.homeserver_rows("SELECT device_id FROM e2e_device_keys_json WHERE user_id = ?", DAARWIZZ)
        masters = self.city.homeserver_rows(
            "SELECT keydata FROM e2e_cross_signing_keys WHERE user_id = ? AND keytype = 'master' ORDER BY stream_id DESC",
            DAARWIZZ,
        )
        return Identity(
            [name for (name,) in devices], next(iter(json.loads(masters[0][0])["keys"])) if masters else None
        )

    async def new_device(self, before: Identity) -> Identity:
        """Wait until the agent has another device than before, and no second one, and the person's client knows it."""

        async def found() -> Identity | None:
            now = self.identity()
            # A question sent earlier would be encrypted for the former device alone.
            is_known = set(now.devices) <= set(self.person.client.device_store[DAARWIZZ])
            return now if len(now.devices) == 1 and now.devices != before.devices and is_known else None

        now = await eventually(
            found, explain=lambda: f"{before} {self.identity()}\n{self.city.explain(self.person, self.room_id)}"
        )
        assert now is not None
        return now

    async def agents(self) -> dict[str, Any]:
        """Return the status of encryption by agent, as the command line shows it."""
        status = await self.city.city.command("encryption", "status", "--json")
        assert status.code == 0, status
        return {agent["agent_id"]: agent for agent in json.loads(status.out)["agents"]}

    def configure(self, **values: str | float) -> None:
        config_edit.set_values(self.city.city.config, {f"encryption.{name}": value for name, value in values.items()})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chat(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Chat]:
    directory = tmp_path_factory.mktemp("administration")
    async with encrypted_city(directory, f"sqlite:///{directory / 'city.db'}") as city:
        person = await city.arrive(city.city, "olha")
        chat = Chat(city, person, await person.open_chat(DAARWIZZ))
        await chat.ask("Чи є хто?")
        yield chat


async def test_status_shows_keys_on_the_homeserver(chat: Chat) -> None:
    daarwizz = (await chat.agents())["daarwizz"]
    assert chat.identity().devices == [daarwizz["device_id"]]
    assert (daarwizz["uploaded"], daarwizz["outbound_sessions"], daarwizz["waiting_events"]) == (True, 1, 0)
    assert daarwizz["olm_sessions"] >= 1


@pytest.mark.parametrize("by_api", [False, True])
async def test_reset_gives_new_device_of_same_identity(chat: Chat, by_api: bool) -> None:
    before = chat.identity()
    if by_api:
        path = "/api/v1/agents/daarwizz/encryption/reset"
        assert (await chat.city.city.call("POST", path, token=ADMIN_TOKEN))[0] == 204
    else:
        assert (await chat.city.city.command("encryption", "reset", "daarwizz")).code == 0
    after = await chat.new_device(before)
    assert after.master == before.master
    await chat.ask(f"Хто ти тепер? {by_api}")
    daarwizz = (await chat.agents())["daarwizz"]
    assert (daarwizz["device_id"], daarwizz["reset_requested"]) == (after.devices[0], False)


async def test_switching_off_deletes_devices(chat: Chat) -> None:
    before = chat.identity()
    await chat.city.city.service.stop()
    chat.configure(enabled=False)
    await chat.city.start()

    async def has_no_device() -> bool:
        return chat.identity().devices == []

    await eventually(has_no_device)
    assert not any(agent["uploaded"] for agent in (await chat.agents()).values())
    for text in ("Чи читаєш?", "А тепер?"):
        await chat.person.send_text(chat.room_id, text)
    notice = await chat.person.wait_for_event(lambda event: UNREADABLE in event["content"].get("body", ""))
    assert (notice["room_id"], notice["sender"]) == (chat.room_id, DAARWIZZ)
    assert not notice["encrypted"]

    await chat.city.city.service.stop()
    chat.configure(enabled=True)
    await chat.city.start()
    after = await chat.new_device(before)
    assert after.master == before.master
    await chat.ask("Знову тут?")
    assert [text for text in chat.person.texts(chat.room_id, DAARWIZZ) if UNREADABLE in text] == [
        notice["content"]["body"]
    ]


async def test_other_pickle_key_requires_discarding_keys(chat: Chat) -> None:
    before = chat.identity()
    await chat.city.city.service.stop()
    chat.configure(pickle_key=OTHER_KEY)
    chat.city.city.service.start()
    assert await chat.city.city.service.ended() == ExitCode.CONFIG
    assert "stored with another encryption.pickle_key" in "\n".join(chat.city.city.service.last_lines())
    assert chat.identity() == before

    assert (await chat.city.city.command("encryption", "discard-keys", "--yes")).code == 0
    await chat.city.start()
    after = await chat.new_device(before)
    assert after.master != before.master
    await chat.ask("Ти той самий?")
