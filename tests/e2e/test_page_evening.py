"""An evening in the pages in each language: what people do beside the journey of test_page_day.py."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Final

import nio
import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.parts.agents_core import says
from tests.parts.browser import until_at_bottom, until_no_overlay
from tests.parts.city import citizen_token, eventually
from tests.parts.page_day import ALICE, LOCALES, NAMES, Day, Days, days_in
from tests.parts.room_pages import PHONE
from tests.parts.service_worker import settled, until_seen

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCRIBE: Final = "@agent_scribe:city.localhost"
POLL: Final = "org.matrix.msc3381.poll."
ALIASES: Final = {"uk": "Оксана з Подолу", "en": "Roxanne of Podil"}
"""The name that the citizen takes."""
SUNFLOWER: Final = {"uk": "соняшник", "en": "sunflower"}
TREE: Final = {"uk": "яблуня", "en": "orchard"}
"""A word that is in messages of one language only."""
FEW: Final = {"uk": "few", "en": "other"}
"""The plural category of 2."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def days(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Days]:
    async with days_in(tmp_path_factory.mktemp("page_evening"), **{"api.jwt.admin_claim": "admin"}) as days:
        yield days


@pytest.mark.parametrize("language", LOCALES)
async def test_evening_in_the_pages(days: Days, language: str) -> None:
    day = await days.begin("evening", language)
    await day.page.goto("/city/general")
    for step in (
        _keys_complete_mention_emoji_and_room,
        _command_and_preview_are_formatted,
        _reply_is_edited_and_deleted,
        _thread_has_answers_of_both,
        _poll_takes_votes_of_both,
        _link_and_calendar_lead_to_messages,
        _search_finds_messages_of_an_author,
        _own_profile_is_seen_by_others,
        _muted_room_counts_nothing,
        _direct_chat_is_read_by_opening,
        _phone_shows_one_pane,
        _message_written_offline_is_sent,
        _admin_moderates_a_room,
    ):
        await step(day)
    assert day.tab.errors == []


# --- composer -----------------------------------------------------------------------------------------


async def _keys_complete_mention_emoji_and_room(day: Day) -> None:
    answer = day.tagged("Sunflowers turn to the sun")
    await day.is_online("scribe")
    for typed, shown, inserted in (
        ("@scr", "Писар", "@scribe "),
        (f":{SUNFLOWER[day.language]}", "🌻", "@scribe 🌻 "),
        ("#Buil", "Builders", "@scribe 🌻 #Builders "),
    ):
        await day.field.press_sequentially(typed)
        await expect(day.page.get_by_role("option", selected=True)).to_contain_text(shown)
        await day.field.press("Enter")
        await expect(day.field).to_have_value(inserted)
    day.core.next(says(answer))
    await day.field.press("Enter")
    event = await day.alice.wait_for_event(
        lambda each: each["sender"] == day.ghost and "#city_builders:city.localhost" in each["content"].get("body", "")
    )
    assert event["content"]["m.mentions"] == {"user_ids": [SCRIBE]}
    await expect(day.row(answer)).to_be_visible()


async def _command_and_preview_are_formatted(day: Day) -> None:
    page, t, bold = day.page, day.t, day.tagged("**Good evening**")
    await day.field.press_sequentially(f"/me {day.tagged('waves')}")
    await day.field.press("Enter")
    assert (await day.alice_gets(day.tagged("waves")))["msgtype"] == "m.emote"
    await day.field.fill(bold)
    await page.get_by_role("button", name=t("preview.toggle")).click()
    await expect(page.get_by_role("region", name=t("preview.label")).locator("strong")).to_have_text("Good evening")
    await day.rooms.get_by_role("link", name="Builders").click()
    await expect(day.field_of(page, "Builders")).to_have_value("")
    await day.rooms.get_by_role("link", name="General").click()
    await expect(day.field).to_have_value(bold)
    await day.field.press("Enter")
    assert "<strong>Good evening</strong>" in (await day.alice_gets(bold))["formatted_body"]


# --- messages -----------------------------------------------------------------------------------------


async def _reply_is_edited_and_deleted(day: Day) -> None:
    page, t, body, edited = day.page, day.t, day.tagged("At nine"), day.tagged("At ten")
    question = await day.alice.send_text(day.room, day.tagged("When shall we meet?"))
    await day.act(day.row(day.tagged("When shall we meet?")), "room.reply")
    await day.field.fill(body)
    await day.field.press("Enter")
    sent = await day.alice_sees(body)
    assert sent["content"]["m.relates_to"] == {"m.in_reply_to": {"event_id": question}}

    await expect(day.row(body).get_by_role("img", name=t("room.sent"))).to_be_visible()
    await day.field.press("ArrowUp")
    await expect(day.field).to_have_value(body)
    await day.field.fill(edited)
    await day.field.press("Enter")
    change = await day.alice.wait_for_event(lambda each: each["content"].get("m.new_content", {}).get("body") == edited)
    assert change["content"]["m.relates_to"] == {"rel_type": "m.replace", "event_id": sent["event_id"]}
    await expect(day.row(edited)).to_contain_text(t("room.edited"))

    deleted = page.get_by_role("log").get_by_role("article").filter(has_text=t("room.deleted"))
    before = await deleted.count()
    await day.delete(day.row(edited))
    await expect(deleted).to_have_count(before + 1)
    await day.alice_sees_removal(sent["event_id"])


async def _thread_has_answers_of_both(day: Day) -> None:
    page, t, body = day.page, day.t, day.tagged("I bring tea")
    root = await day.alice.send_text(day.room, day.tagged("Who brings what?"))
    row, panel = day.row(day.tagged("Who brings what?")), page.get_by_role("complementary", name=t("thread.title"))
    await day.act(row, "room.replyInThread")
    await panel.get_by_role("textbox", name=t("thread.inputLabel")).fill(body)
    await panel.get_by_role("textbox", name=t("thread.inputLabel")).press("Enter")
    related = (await day.alice_gets(body))["m.relates_to"]
    assert (related["rel_type"], related["event_id"]) == ("m.thread", root)
    said = await day.alice_says("I bring honey", **{"m.relates_to": {"rel_type": "m.thread", "event_id": root}})
    await expect(panel.get_by_role("article").filter(has_text=said)).to_be_visible()
    await panel.get_by_role("button", name=t("common.close"), exact=True).click()
    await expect(panel).to_have_count(0)
    replies = t(f"thread.replies_{FEW[day.language]}", count=2)
    await expect(row.get_by_role("button", name=replies)).to_be_visible()


async def _poll_takes_votes_of_both(day: Day) -> None:
    page, t, question = day.page, day.t, day.tagged("Where to?")
    await page.get_by_role("button", name=t("poll.start")).click()
    dialog = page.get_by_role("dialog", name=t("poll.start"))
    await dialog.get_by_label(t("poll.question")).fill(question)
    for number, place in enumerate(("Podil", "Obolon"), 1):
        await dialog.get_by_label(t("poll.option", number=number)).fill(place)
    await dialog.get_by_role("button", name=t("poll.start")).click()
    poll = await day.alice.wait_for_event(
        lambda each: each["type"] == f"{POLL}start" and question in str(each["content"])
    )
    answer = poll["content"][f"{POLL}start"]["answers"][0]["id"]
    related = {"m.relates_to": {"rel_type": "m.reference", "event_id": poll["event_id"]}}
    await day.alice.client.room_send(day.room, f"{POLL}response", {f"{POLL}response": {"answers": [answer]}} | related)
    shown = page.get_by_role("group", name=question)
    await expect(shown.get_by_text(t("poll.voters_one", count=1))).to_be_visible()
    # The list may move between the press and the release of a mouse button.
    await shown.get_by_role("radio", name="Podil").press("Space")
    await expect(shown.get_by_role("radio", name="Podil")).to_be_checked()
    vote = await day.alice.wait_for_event(
        lambda each: each["type"] == f"{POLL}response" and each["sender"] == day.ghost
    )
    assert vote["content"][f"{POLL}response"] == {"answers": [answer]}
    await expect(shown.get_by_text(t(f"poll.votes_{FEW[day.language]}", count=2), exact=True)).to_be_visible()


# --- ways to messages ---------------------------------------------------------------------------------


async def _link_and_calendar_lead_to_messages(day: Day) -> None:
    page, t, log = day.page, day.t, day.page.get_by_role("log")
    said = await day.alice_says("Remember this")
    await day.act(day.row(said), "room.copyLink")
    await expect(day.row(said).get_by_role("button", name=t("room.linkCopied"))).to_be_visible()
    link = await day.tab.run("navigator.clipboard.readText()")
    await page.goto(link)
    await expect(day.row(said)).to_be_in_viewport()

    first = (await day.city.get("/city/rooms/general/messages?limit=200"))[0]
    yesterday = (datetime.now(UTC) - timedelta(days=1)).date()
    lines = await day.day_lines()
    await lines.first.fill(str(yesterday))
    await expect(page).to_have_url(re.compile(first["id"]))
    await expect(log.locator(f"[data-message='{first['id']}']")).to_be_in_viewport()


async def _search_finds_messages_of_an_author(day: Day) -> None:
    page, t, word = day.page, day.t, TREE[day.language]
    await page.goto("/city/general")
    await day.field.fill(day.tagged(f"My {word}"))
    await day.field.press("Enter")
    said = await day.alice_says(f"Her {word}")
    await expect(day.row(said)).to_be_visible()
    await day.alice_gets(day.tagged(f"My {word}"))
    await page.goto("/search")
    main = page.get_by_role("main")
    await main.get_by_label(t("search.words")).fill(word)
    await main.get_by_role("button", name=t("palette.open"), exact=True).click()
    await expect(main.get_by_role("listitem")).to_have_count(2)
    await main.get_by_label(t("search.author"), exact=True).select_option("Alice")
    await expect(main.get_by_role("listitem")).to_have_count(1)
    await main.get_by_role("listitem").get_by_role("link", name=said).click()
    await expect(day.row(said)).to_be_in_viewport()


async def _own_profile_is_seen_by_others(day: Day) -> None:
    page, t, name, status = day.page, day.t, ALIASES[day.language], day.tagged("Looks at the stars")
    await page.get_by_role("button", name=t("session.account", name=NAMES[day.language][0])).click()
    await page.get_by_role("button", name=t("profile.title")).click()
    dialog = page.get_by_role("dialog", name=t("profile.title"))
    await dialog.get_by_label(t("profile.name"), exact=True).fill(name)
    await dialog.get_by_label(t("profile.status"), exact=True).fill(status)
    await dialog.get_by_role("button", name=t("profile.save")).click()
    await expect(dialog).to_have_count(0)
    members = page.get_by_role("complementary", name=t("room.membersOf", room="General"))
    await members.get_by_role("button", name=name).click()
    card = page.get_by_role("dialog", name=t("card.title"))
    await expect(card.get_by_text(name, exact=True)).to_be_visible()
    await expect(card.get_by_text(status)).to_be_visible()
    await card.press("Escape")
    await until_no_overlay(page)
    await day.alice.wait_for(lambda: day.alice.client.rooms[day.room].user_name(day.ghost) == name)


async def _sets_notifications(day: Day, mode: str) -> None:
    """Choose the notification mode of the open room."""
    page, t = day.page, day.t
    await page.get_by_role("button", name=t("notifications.label")).click()
    radio = page.get_by_role("radio", name=t(f"notifications.{mode}"))
    await radio.click()  # it is checked once the city has answered
    await expect(radio).to_be_checked()
    await page.keyboard.press("Escape")
    await until_no_overlay(page)


async def _muted_room_counts_nothing(day: Day) -> None:
    page, t, general = day.page, day.t, day.rooms.get_by_role("link", name="General")
    mention = {"m.mentions": {"user_ids": [day.ghost]}}
    for mode, title in (("none", re.compile(r"^(?!\(1\))")), ("all", re.compile(r"^\(1\)"))):
        await _sets_notifications(day, mode)
        await day.rooms.get_by_role("link", name="Builders").click()
        await expect(page.get_by_role("heading", name="Builders", level=1)).to_be_visible()
        said = await day.alice_says(f"You, {mode}", **mention)
        await expect(general).to_contain_text(said)
        await expect(general).to_contain_text(t("pane.mentions_one", count=1))
        await expect(page).to_have_title(title)
        await general.click()
        await expect(day.row(said)).to_be_in_viewport()
        await expect(general).not_to_contain_text(t("pane.mentions_one", count=1))


async def _direct_chat_is_read_by_opening(day: Day) -> None:
    t, said, taras = day.t, day.tagged("Between us"), citizen_token(f"u_taras_{day.language}", "Тарас")
    await day.city.call("POST", "/api/v1/presence/heartbeat", {"status": "online"}, token=taras)
    chat = await day.city.post("/city/direct", {"with": f"citizen:{day.citizen}"}, token=taras)
    await day.city.post(f"/city/rooms/{chat['id']}/messages", {"body": said}, token=taras)
    listed = day.page.get_by_role("list", name=t("pane.direct")).get_by_role("link", name="Тарас")
    await expect(listed).to_contain_text(said)
    await expect(listed).to_contain_text(t("rooms.unread_one", count=1))
    await listed.click()
    await expect(day.row(said)).to_be_visible()
    await expect(listed).not_to_contain_text(t("rooms.unread_one", count=1))

    async def is_read() -> bool:
        return [each["unread"] for each in await day.city.get("/city/direct", token=day.token)] == [0]

    await eventually(is_read)


# --- other screens, other networks --------------------------------------------------------------------


async def _phone_shows_one_pane(day: Day) -> None:
    t, answer = day.t, day.tagged("From the tram")
    said = await day.alice_says("Where are you?")
    tab = await day.open("/city", viewport=PHONE, has_touch=True, reduced_motion="reduce")
    page = tab.page
    await page.get_by_role("main").get_by_role("link", name="General").tap()
    await expect(day.row(said, page)).to_be_in_viewport()
    await expect(page.get_by_role("navigation", name=t("pane.label"))).to_be_hidden()
    await until_at_bottom(page)
    # Chromium's headless shell has a mouse on a phone, too: elsewhere in the log, it would choose another message.
    await day.row(said, page).hover()
    await day.row(said, page).tap()
    await page.get_by_role("button", name=t("room.actions")).tap()
    sheet = page.get_by_role("dialog", name=t("room.actions"))
    await expect(sheet).to_be_in_viewport(ratio=1)
    await sheet.get_by_role("button", name=t("room.reply"), exact=True).tap()
    await day.field_of(page, "General").fill(answer)
    await page.get_by_role("button", name=t("room.send"), exact=True).tap()
    assert "m.in_reply_to" in (await day.alice_gets(answer))["m.relates_to"]
    await page.get_by_role("link", name=t("rooms.title")).tap()
    await expect(page.get_by_role("heading", name=t("rooms.title"), level=1)).to_be_visible()
    assert tab.errors == []


async def _message_written_offline_is_sent(day: Day) -> None:
    t, written = day.t, day.tagged("Written in the tunnel")
    said = await day.alice_says("Good night")
    # Requests fail in this tab, so its errors mean nothing.
    page = (await day.open("/city/general", service_workers="allow")).page
    await expect(day.row(said, page)).to_be_visible()
    await settled(page)
    await until_seen(page, f"{day.citizen} room general")
    await page.context.set_offline(True)
    await page.reload()
    await expect(page.get_by_text(t("link.offline"))).to_be_visible()
    await expect(day.row(said, page)).to_be_visible()
    await day.field_of(page, "General").fill(written)
    await day.field_of(page, "General").press("Enter")
    await expect(page.get_by_role("log").get_by_text(t("room.waiting"))).to_be_visible()
    await page.context.set_offline(False)
    await day.alice_gets(written)
    await expect(page.get_by_role("log").get_by_text(t("room.waiting"))).to_have_count(0)


# --- moderation ---------------------------------------------------------------------------------------


async def _opens_garden(day: Day) -> tuple[str, str]:
    """Open a room as another citizen, which Alice joins; returns its slug and the id of its Matrix room."""
    slug = f"garden-{day.language}"
    await day.city.post("/city/rooms", {"name": slug, "slug": slug}, token=citizen_token("u_gardener", "Садівник"))

    async def is_linked() -> bool:
        return bool((await day.city.get(f"/city/rooms/{slug}"))["matrix_status"] == "linked")

    await eventually(is_linked)
    return slug, await day.alice.join(f"#city_{slug}:city.localhost")


async def _admin_moderates_a_room(day: Day) -> None:
    slug, room = await _opens_garden(day)
    advert = await day.alice.send_text(room, "Buy elephants")
    mayor = citizen_token(f"u_mayor_{day.language}", "Мер", admin=True)
    tab = await day.open(f"/city/{slug}", token=mayor)
    await _pins_and_deletes(day, tab.page, room, advert)
    await _describes(day, tab.page, room)
    await _kicks(day, tab.page, slug, room)
    assert tab.errors == []


async def _pins_and_deletes(day: Day, page: Page, room: str, advert: str) -> None:
    t, row, pins = day.t, day.row("Buy elephants", page), page.get_by_role("region", name=day.t("pins.title"))

    async def are_pinned(events: list[str]) -> None:
        await day.alice.wait_for_event(
            lambda each: (
                (each["type"], each["room_id"]) == ("m.room.pinned_events", room)
                and each["content"]["pinned"] == events
            )
        )

    await day.act(row, "pins.pin")
    await expect(pins.get_by_text("Buy elephants")).to_be_visible()
    await are_pinned([advert])
    await pins.get_by_role("button", name=t("pins.unpin")).click()
    await expect(pins).to_be_hidden()
    await are_pinned([])
    await day.delete(row)
    await expect(page.get_by_role("log").get_by_text(t("room.deleted"))).to_be_visible()
    await day.alice_sees_removal(advert)


async def _describes(day: Day, page: Page, room: str) -> None:
    t, about = day.t, day.tagged("Trees only")
    await page.get_by_role("button", name=t("room.more")).click()
    await page.get_by_role("button", name=t("moderation.settings")).click()
    settings = page.get_by_role("dialog", name=t("moderation.settings"))
    await settings.get_by_label(t("rooms.descriptionLabel")).fill(about)
    await settings.get_by_role("button", name=t("moderation.save")).click()
    await expect(settings).to_have_count(0)
    await expect(page.get_by_role("main").get_by_text(about)).to_be_visible()
    await day.alice.wait_for(lambda: day.alice.client.rooms[room].topic == about)


async def _kicks(day: Day, page: Page, slug: str, room: str) -> None:
    t, reason = day.t, day.tagged("elephants")
    await page.get_by_role("log").get_by_role("button", name="Alice", exact=True).first.click()
    await page.get_by_role("button", name=t("moderation.kick")).click()
    asked = page.get_by_role("dialog", name=t("moderation.kickAsk", name="Alice"))
    await asked.get_by_label(t("moderation.reason")).fill(reason)
    await asked.get_by_role("button", name=t("moderation.kick")).click()
    await expect(page.get_by_role("log").get_by_text(t("room.reason", reason=reason))).to_be_visible()

    async def is_removed() -> bool:
        member = await day.alice.client.room_get_state_event(room, "m.room.member", ALICE)
        assert isinstance(member, nio.RoomGetStateEventResponse), member
        return (member.content["membership"], member.content.get("reason")) == ("leave", reason)

    await eventually(is_removed)
    await day.alice.join(f"#city_{slug}:city.localhost")
