"""A day in the pages in each language: a citizen in Chromium, a stranger in matrix-nio, a scripted agents core."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import pytest
import pytest_asyncio
from PIL import Image
from playwright.async_api import expect

from tests.parts.agents_core import says
from tests.parts.city import eventually
from tests.parts.page_day import ALICE, LOCALES, NAMES, Day, Days, days_in

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def days(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Days]:
    async with days_in(tmp_path_factory.mktemp("page_day")) as days:
        yield days


@pytest.mark.parametrize("language", LOCALES)
async def test_day_in_the_pages(days: Days, language: str) -> None:
    day = await days.begin("day", language)
    for step in (
        _home_shows_what_is_said,
        _three_panes_show_a_room,
        _renamed_person_is_mentioned_by_card,
        _mention_counts_until_read,
        _old_message_is_found,
        _message_has_code_picture_and_reaction,
        _agent_answers_in_direct_chat,
        _second_me_is_a_conversation,
        _places_lead_to_an_agent,
        _chat_is_embedded,
    ):
        await step(day)
    assert day.tab.errors == []


async def _home_shows_what_is_said(day: Day) -> None:
    page, t = day.page, day.t
    await expect(page.get_by_role("textbox", name=t("secondMe.inputLabel"))).to_be_in_viewport()
    for heading in ("home.rooms", "home.feed"):
        await expect(page.get_by_role("heading", name=t(heading))).to_be_in_viewport()
    said = await day.alice_says("What a street")
    await expect(page.get_by_text(said).first).to_be_in_viewport()


async def _three_panes_show_a_room(day: Day) -> None:
    page, t = day.page, day.t
    await page.get_by_role("main").get_by_role("link", name="General").first.click()
    await expect(day.row("What a street").last).to_be_visible()
    await expect(day.rooms.get_by_role("link", name="General")).to_have_attribute("aria-current", "page")
    await expect(page.get_by_role("complementary", name=t("room.membersOf", room="General"))).to_be_visible()
    await page.get_by_role("button", name=t("room.join"), exact=True).click()
    await day.alice.wait_for(lambda: day.ghost in day.alice.client.rooms[day.room].users)


async def _renamed_person_is_mentioned_by_card(day: Day) -> None:
    page, t, name = day.page, day.t, NAMES[day.language][1]
    await day.alice.client.set_displayname(name)
    # The first of consecutive messages has the name.
    await page.get_by_role("log").get_by_role("button", name=name, exact=True).last.click()
    card = page.get_by_role("dialog", name=t("card.title"))
    await expect(card.get_by_text(ALICE)).to_be_visible()
    await card.get_by_role("button", name=t("card.mention")).click()
    await expect(day.field).to_have_value(f"@{name} ")
    await day.field.press_sequentially("welcome")
    await day.field.press("Enter")
    content = await day.alice_gets(f"{ALICE} welcome")
    assert content["m.mentions"] == {"user_ids": [ALICE]}
    await expect(day.row("welcome").last.get_by_role("button", name=f"@{name}")).to_be_visible()


async def _mention_counts_until_read(day: Day) -> None:
    page, t = day.page, day.t
    await day.rooms.get_by_role("link", name="Builders").click()
    await page.get_by_role("heading", name="Builders").wait_for()
    general = day.rooms.get_by_role("link", name="General")
    await day.alice_says("Is anybody here?")
    mention = await day.alice_says("You!", **{"m.mentions": {"user_ids": [day.ghost]}})
    await expect(general).to_contain_text(t("pane.mentions_one", count=1))
    await expect(page).to_have_title(re.compile(r"^\(1\)"))
    await expect(general.get_by_text(mention)).to_be_visible()
    await general.click()
    await expect(day.row(mention)).to_have_class(re.compile("mentionsMe"))
    await expect(page.get_by_role("log").get_by_text(t("room.unread"))).to_be_visible()
    await expect(general).not_to_contain_text(t("pane.mentions_one", count=1))

    async def is_read() -> bool:
        (room,) = [each for each in await day.city.get("/city/rooms", token=day.token) if each["slug"] == "general"]
        return (room["unread"], room["mentions"]) == (0, 0)

    await eventually(is_read)


async def _old_message_is_found(day: Day) -> None:
    page, t = day.page, day.t
    await page.keyboard.press("Control+k")
    box = page.get_by_role("combobox", name=t("palette.title"))
    await box.fill("street")
    await page.get_by_role("option").filter(has_text=f"What a street [{day.language}]").click()
    await expect(page).to_have_url(re.compile("/city/general/.+"))
    await expect(day.row(f"What a street [{day.language}]")).to_be_in_viewport()


async def _message_has_code_picture_and_reaction(day: Day) -> None:
    page, t, log = day.page, day.t, day.page.get_by_role("log")
    code = f"```python\nlanguage = '{day.language}'\n```"
    await day.field.fill(code)
    await day.field.press("Enter")
    assert (await day.alice_gets(code))["format"] == "org.matrix.custom.html"
    await log.get_by_role("button", name=t("code.copy")).last.press("Enter")
    await expect(log.get_by_role("button", name=t("session.copied"))).to_be_visible()
    assert await day.tab.run("navigator.clipboard.readText()") == f"language = '{day.language}'"

    picture, name = BytesIO(), f"house-{day.language}.png"
    Image.new("RGB", (64, 48), (180, 80, 40)).save(picture, "PNG")
    files: Any = {"name": name, "mimeType": "image/png", "buffer": picture.getvalue()}
    await page.locator("input[type=file]").first.set_input_files(files)
    await page.get_by_role("main").get_by_role("button", name=t("room.send"), exact=True).click()
    event = await day.alice.wait_for_event(lambda each: each["content"].get("body") == name)
    assert (event["content"]["msgtype"], event["sender"]) == ("m.image", day.ghost)
    related = {"rel_type": "m.annotation", "event_id": event["event_id"], "key": "🏡"}
    await day.alice.client.room_send(day.room, "m.reaction", {"m.relates_to": related})
    await expect(log.get_by_role("button", name=t("room.reactionLabel_one", emoji="🏡", count=1)).last).to_be_visible()
    await log.get_by_role("button", name=t("room.imageOpen", name=name)).press("Enter")
    viewer = page.get_by_role("dialog", name=t("viewer.label"))
    await expect(viewer.get_by_role("img")).to_be_visible()
    await viewer.press("Escape")
    await expect(viewer).to_have_count(0)


async def _agent_answers_in_direct_chat(day: Day) -> None:
    page, t, answer = day.page, day.t, f"Good morning [{day.language}]"
    await day.is_online("scribe")
    await page.goto("/agents/scribe")
    await page.get_by_role("button", name=t("agents.chat")).click()
    field = page.get_by_role("textbox", name=t("room.inputLabel", room="Писар"))
    day.core.next(says(answer))
    await field.fill("Hello")
    await field.press("Enter")
    await expect(day.row(answer)).to_be_visible()
    await expect(page.get_by_role("list", name=t("pane.direct")).get_by_text("Писар").first).to_be_visible()


async def _second_me_is_a_conversation(day: Day) -> None:
    page, t = day.page, day.t
    await page.goto("/")
    day.core.next(says("Plant gardens on the roofs."), says("Open the river bank."))
    ask = page.get_by_role("textbox", name=t("secondMe.inputLabel"))
    await ask.fill("An idea, please")
    await ask.press("Enter")
    await expect(page.get_by_text("Plant gardens on the roofs.").first).to_be_visible()
    await page.get_by_role("button", name=t("secondMe.again")).last.click()
    await expect(page.get_by_text("Open the river bank.").first).to_be_visible()
    await page.get_by_role("button", name=t("secondMe.clear")).click()
    await page.get_by_role("dialog").get_by_role("button", name=t("secondMe.clearDo"), exact=True).click()
    await expect(page.get_by_text(t("secondMe.empty"))).to_be_visible()


async def _places_lead_to_an_agent(day: Day) -> None:
    page, t, answer = day.page, day.t, f"We build a bridge [{day.language}]"
    await day.is_online("daarwizz")
    await page.goto("/")
    await page.get_by_role("main").get_by_role("link", name=t("places.title")).click()
    await page.get_by_role("main").get_by_role("link", name="daarion").click()
    await page.get_by_role("main").get_by_role("link", name="DAARWIZZ").first.click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("DAARWIZZ")
    day.core.next(says(answer))
    ask = page.get_by_role("textbox", name=t("agents.askLabel", name="DAARWIZZ"))
    await ask.fill("What is new?")
    await ask.press("Enter")
    await expect(page.get_by_text(answer).first).to_be_visible()


async def _chat_is_embedded(day: Day) -> None:
    await day.page.goto("/embed/general")
    said = await day.alice_says("Seen in the frame")
    await expect(day.row(said)).to_be_visible()
