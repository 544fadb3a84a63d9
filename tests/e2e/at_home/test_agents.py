"""Agents and the bot in rooms and direct chats, in Element's SDK, in matrix-nio and on the page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import nio
from playwright.async_api import Page, expect

from tests.parts.agents_core import grows, says
from tests.parts.at_home import (
    BOT,
    DAARWIZZ,
    IN_ONE_CITY,
    SCRIBE,
    AtHome,
)
from tests.parts.city import eventually
from tests.parts.matrix_user import MatrixUser

pytestmark = [*IN_ONE_CITY]

ENCRYPTION: Final[dict[str, Any]] = {
    "type": "m.room.encryption",
    "state_key": "",
    "content": {"algorithm": "m.megolm.v1.aes-sha2"},
}


async def test_only_the_agent_that_is_meant_replies(home: AtHome) -> None:
    await home.set_online("daarwizz", "scribe")
    unknown, asked = "@agent_unknown:city.localhost", len(home.core.requests)
    alice = str(home.alice.client.user_id)
    room = await home.greta.create_room({"invite": [DAARWIZZ, SCRIBE, unknown, alice]})
    await home.alice.join(room)

    async def memberships() -> bool:
        members = await home.greta.members(room)
        states = [members[user]["membership"] for user in (DAARWIZZ, SCRIBE, unknown)]
        return states == ["join", "join", "leave"]

    await eventually(memberships)
    assert "no such agent" in str((await home.greta.members(room))[unknown]["reason"])
    home.core.next(says("Я писар"))
    await home.greta.say(room, "Привіт усім")
    question = await home.greta.say(room, "@scribe, ти хто?")
    answer = await home.greta.wait_for({"sender": SCRIBE, "content": {"body": "Я писар"}}, room_id=room)
    assert answer["reply_to"] == question
    assert answer["content"]["m.mentions"] == {"user_ids": [home.greta.user_id]}
    assert (await home.greta.push_actions(room, answer["event_id"]))["highlight"]
    await home.alice.wait_for_event(lambda event: event["event_id"] == answer["event_id"])
    assert home.alice.client.rooms[room].unread_highlights == 0
    assert [each.content["input"] for each in home.core.requests[asked:]] == ["@scribe, ти хто?"]
    await home.greta.leave(room)


async def test_reply_in_direct_chat_gives_no_red_badge(home: AtHome) -> None:
    await home.set_online("daarwizz", "scribe")
    room = await home.greta.create_room(direct_with=DAARWIZZ)
    home.core.next(says("Вітаю!"))
    await home.greta.say(room, "Привіт")
    answer = await home.greta.wait_for({"sender": DAARWIZZ, "content": {"body": "Вітаю!"}}, room_id=room)
    assert (answer["relates_to"], answer["content"]["m.mentions"]) == (None, {})
    actions = await home.greta.push_actions(room, answer["event_id"])
    assert (actions["notify"], actions["highlight"]) == (True, False)

    async def has_badge() -> bool:
        counts = await home.greta.notifications(room)
        return (counts["total"], counts["highlight"]) == (1, 0)

    await eventually(has_badge)
    direct = await home.greta.account_data("m.direct")
    assert direct is not None
    assert direct[DAARWIZZ] == [room]

    opened = await home.alice.client.room_create(is_direct=True, invite=[SCRIBE])
    assert isinstance(opened, nio.RoomCreateResponse), opened
    home.core.next(says("Пишу"))
    await home.alice.send_text(opened.room_id, "Пишеш?")
    await home.alice.wait_for_event(lambda event: event["content"].get("body") == "Пишу")
    await home.alice.wait_for(lambda: home.alice.client.rooms[opened.room_id].unread_notifications == 1)
    assert home.alice.client.rooms[opened.room_id].unread_highlights == 0


async def test_bot_in_direct_chat_answers_commands(home: AtHome) -> None:
    await home.set_online("daarwizz")
    room = await home.greta.create_room(direct_with=BOT)
    greeting = await home.greta.wait_for({"sender": BOT, "type": "m.room.message"}, room_id=room)
    assert (greeting["content"]["msgtype"], greeting["relates_to"]) == ("m.notice", None)
    assert not (await home.greta.push_actions(room, greeting["event_id"]))["highlight"]
    parts = {"help": "rooms: the city's rooms", "rooms": "General", "agents": "DAARWIZZ", "хто": "DAARWIZZ"}
    for command, part in parts.items():
        asked = await home.greta.say(room, command)

        async def answered(asked: str = asked, part: str = part) -> bool:
            events = await home.greta.timeline(room)
            ids = [event["event_id"] for event in events]
            later = events[ids.index(asked) :] if asked in ids else []
            return any(event["sender"] == BOT and part in event["content"]["body"] for event in later)

        await eventually(answered)


async def test_long_reply_is_one_message_with_few_edits(home: AtHome) -> None:
    await home.set_online("daarwizz")
    gate = asyncio.Event()
    home.core.next(grows(gate, "і далі ", "аж до кінця."))
    question = await home.greta.say(home.room, "daarwizz: розкажи казку")
    begun = await home.greta.wait_for({"sender": DAARWIZZ, "reply_to": question}, room_id=home.room)
    assert not begun["replaced"]
    gate.set()

    async def is_complete() -> bool:
        events = await home.greta.timeline(home.room)
        shown = next(event for event in events if event["event_id"] == begun["event_id"])
        return bool(shown["replaced"] and shown["content"]["body"].endswith("аж до кінця."))

    await eventually(is_complete)
    await expect(home.row("аж до кінця.")).to_be_visible()
    await expect(home.row("аж до кінця.").get_by_text("edited", exact=True)).to_have_count(0)
    await home.alice.wait_for_event(lambda event: "аж до кінця." in str(event["content"]))
    sent = [event for event in home.alice.events if event["sender"] == DAARWIZZ and "і далі" in str(event["content"])]
    assert 2 <= len(sent) <= 4
    assert [event["content"]["m.mentions"] for event in sent[1:]] == [{}] * len(sent[1:])

    await home.reload_greta()
    shown = await home.greta.wait_for({"event_id": begun["event_id"]}, room_id=home.room)
    assert shown["content"]["body"].endswith("аж до кінця.")


def said(sender: str, body: str) -> Any:
    return lambda event: (event["sender"], event["content"].get("body")) == (sender, body)


async def test_chat_opened_on_matrix_goes_on_in_the_pages(home: AtHome) -> None:
    """Also after the end of the link: it is gone then, and the ghost leaves."""
    await home.set_online("scribe")
    home.core.next(says("Вітаю!"), says("Запишу"), says("Уже"))
    zoriana = await MatrixUser.arrive(home.city.homeserver, "zoriana")
    try:
        secret = await chat_with(zoriana, DAARWIZZ, [ENCRYPTION])
        await zoriana.wait_for_event(lambda event: (event["room_id"], event["sender"]) == (secret, DAARWIZZ))
        room = await chat_with(zoriana, SCRIBE)
        await zoriana.send_text(room, "Привіт, писарю")
        await zoriana.wait_for_event(said(SCRIBE, "Вітаю!"))
        token = await home.sign_in(zoriana)
        ghost = f"@citizen_{(await home.city.get('/city/me', token=token))['user_id']}:city.localhost"
        async with signed_in_page(home, token, "uk-UA") as ours, signed_in_page(home, token, "en-US") as english:
            chats = ours.get_by_role("list", name="Особисті розмови")
            await expect(chats.get_by_role("link")).to_have_count(2)
            await chats.get_by_role("link").filter(has_text="Зашифровано").click()
            await expect(ours.locator("main").get_by_text("Ця розмова зашифрована")).to_be_visible()
            await expect(ours.locator("main").get_by_role("link", name="Відкрити в клієнті Matrix")).to_be_visible()
            await chats.get_by_role("link", name="Писар").click()
            log = ours.get_by_role("log")
            for text in ("Привіт, писарю", "Вітаю!"):
                await expect(log.get_by_text(text, exact=True).first).to_be_visible()
            field = ours.locator("main").get_by_role("textbox", name="Повідомлення: Писар")
            await field.fill("Запиши мене")
            await field.press("Enter")
            sent = await zoriana.wait_for_event(said(ghost, "Запиши мене"))
            assert sent["room_id"] == room
            await zoriana.wait_for_event(said(SCRIBE, "Запишу"))
            await expect(log.get_by_text("Запишу", exact=True)).to_be_visible()
            await english.get_by_role("list", name="Direct chats").get_by_role("link", name="Писар").click()
            await expect(english.get_by_role("log").get_by_text("Запишу", exact=True)).to_be_visible()
            await expect(english.locator("main").get_by_text("Your chat on Matrix")).to_be_visible()
            await zoriana.send_text(room, "Готово?")
            await zoriana.wait_for_event(said(SCRIBE, "Уже"))
            for page in (ours, english):
                await expect(page.get_by_role("log").get_by_text("Уже", exact=True)).to_be_visible()
            status, _ = await home.city.call("DELETE", "/city/me/matrix", token=token)
            assert status == 204
            await zoriana.wait_for_event(
                lambda event: event.get("state_key") == ghost and event["content"].get("membership") == "leave"
            )
            for page in (ours, english):
                await page.reload()
                await expect(page.get_by_role("alert")).to_be_visible()
                await expect(page.get_by_text("Запишу", exact=True)).to_have_count(0)
            await expect(chats).to_have_count(0)
    finally:
        await zoriana.leave()


async def chat_with(person: MatrixUser, agent: str, state: Sequence[dict[str, Any]] = ()) -> str:
    """Open a direct chat as Element does; return the Matrix room."""
    opened = await person.client.room_create(
        is_direct=True, invite=[agent], preset=nio.RoomPreset.trusted_private_chat, initial_state=state
    )
    assert isinstance(opened, nio.RoomCreateResponse), opened
    return str(opened.room_id)


@asynccontextmanager
async def signed_in_page(home: AtHome, token: str, locale: str) -> AsyncIterator[Page]:
    browser = home.page.context.browser
    assert browser is not None
    stored: Any = [{"name": "city.session", "value": token}]
    context = await browser.new_context(
        locale=locale,
        viewport={"width": 1440, "height": 900},
        storage_state={"cookies": [], "origins": [{"origin": home.city.api_url, "localStorage": stored}]},
    )
    try:
        page = await context.new_page()
        await page.goto(f"{home.city.api_url}/city")
        yield page
    finally:
        await context.close()
