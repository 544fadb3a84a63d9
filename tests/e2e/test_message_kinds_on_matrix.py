"""Polls, voice messages, places, stickers, captions, emotes and unknown kinds between matrix-nio and the room's page."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from typing import Any, Final

import nio
import pytest
import pytest_asyncio
from PIL import Image
from playwright.async_api import Page, expect

from tests.parts.browser import start_browser
from tests.parts.city import RunningCity, citizen_token, eventually, shared_city
from tests.parts.matrix_user import MatrixUser

pytestmark = pytest.mark.asyncio(loop_scope="module")

OKSANA: Final = citizen_token("u_1", "Оксана")
TARAS: Final = citizen_token("u_2", "Тарас")
GENERAL: Final = "/city/rooms/general"
GHOST: Final = "@citizen_u_1:city.localhost"
UNSTABLE: Final = "org.matrix.msc3381.poll."
TEXT: Final = "org.matrix.msc1767.text"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningCity]:
    async with shared_city(tmp_path_factory.mktemp("message_kinds")) as city:
        yield city


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def alice(city: RunningCity) -> AsyncIterator[MatrixUser]:
    person = await MatrixUser.arrive(city.homeserver, "alice")
    yield person
    await person.leave()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def room(alice: MatrixUser) -> str:
    return await alice.join("#city_general:city.localhost")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def page(city: RunningCity) -> AsyncIterator[Page]:
    """The room as Oksana sees it."""
    kept = [{"name": "city.session", "value": OKSANA}]
    async with start_browser() as browser:
        reader = await browser.other_profile(
            locale="en-US",
            viewport={"width": 1280, "height": 900},
            storage_state={"cookies": [], "origins": [{"origin": city.api_url, "localStorage": kept}]},
        )
        yield (await reader.open(f"{city.api_url}/city/general")).page


async def message_of(city: RunningCity, event_id: str) -> dict[str, Any]:
    async def is_there() -> dict[str, Any] | None:
        messages = await city.get(f"{GENERAL}/messages")
        return next((message for message in messages if message["matrix_event_id"] == event_id), None)

    message = await eventually(is_there)
    assert message is not None
    return message


async def send(alice: MatrixUser, room: str, event_type: str, content: dict[str, Any]) -> str:
    answer = await alice.client.room_send(room, event_type, content)
    assert isinstance(answer, nio.RoomSendResponse), answer
    return str(answer.event_id)


def is_from_oksana(event: dict[str, Any], event_type: str) -> bool:
    return bool(event["sender"] == GHOST and event["type"] == event_type)


async def test_poll_of_matrix_is_voted_in_on_the_page(
    city: RunningCity, alice: MatrixUser, room: str, page: Page
) -> None:
    answers = [{"id": each, TEXT: each.title()} for each in ("podil", "obolon")]
    question = {TEXT: "Where to?"}
    poll = {"question": question, "answers": answers, "kind": f"{UNSTABLE}disclosed", "max_selections": 1}
    event_id = await send(alice, room, f"{UNSTABLE}start", {f"{UNSTABLE}start": poll, TEXT: "Where to?"})
    reference = {"m.relates_to": {"rel_type": "m.reference", "event_id": event_id}}
    await send(alice, room, f"{UNSTABLE}response", {f"{UNSTABLE}response": {"answers": ["podil"]}} | reference)

    shown = page.get_by_role("group", name="Where to?")
    await expect(shown.get_by_text("1 vote", exact=True)).to_be_visible()
    # The list may move between the press and the release of a mouse button.
    await shown.get_by_role("radio", name="Obolon").press("Space")
    await expect(shown.get_by_role("radio", name="Obolon")).to_be_checked()
    vote = await alice.wait_for_event(lambda event: is_from_oksana(event, f"{UNSTABLE}response"))
    assert vote["content"][f"{UNSTABLE}response"] == {"answers": ["obolon"]}
    assert vote["content"]["m.relates_to"] == reference["m.relates_to"]
    await expect(shown.get_by_text("2 people voted")).to_be_visible()
    await page.reload()
    await expect(shown.get_by_role("radio", name="Obolon")).to_be_checked()

    message = await message_of(city, event_id)
    await city.post(f"{GENERAL}/messages/{message['id']}/votes", {"selections": ["obolon"]}, token=TARAS)
    await alice.wait_for_event(lambda event: event["type"] == f"{UNSTABLE}response" and "u_2" in event["sender"])
    await send(alice, room, f"{UNSTABLE}end", {f"{UNSTABLE}end": {}, TEXT: "The poll has ended"} | reference)
    await expect(shown.get_by_text("The poll has ended")).to_be_visible()
    await expect(shown.get_by_role("radio", name="Podil")).to_be_disabled()
    result = (await message_of(city, event_id))["poll"]
    assert [(option["id"], option["votes"]) for option in result["options"]] == [("podil", 1), ("obolon", 2)]
    redacted = await alice.client.room_redact(room, (await _vote_of_alice(alice))["event_id"])
    assert isinstance(redacted, nio.RoomRedactResponse)
    await expect(shown.get_by_text("2 people voted")).to_be_visible()


async def _vote_of_alice(alice: MatrixUser) -> dict[str, Any]:
    mine = alice.client.user_id
    return await alice.wait_for_event(lambda event: event["type"] == f"{UNSTABLE}response" and event["sender"] == mine)


async def test_poll_of_the_page_is_voted_in_on_matrix(alice: MatrixUser, room: str, page: Page) -> None:
    await page.get_by_role("button", name="Start a poll").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Question").fill("When?")
    await dialog.get_by_label("Option 1").fill("Monday")
    await dialog.get_by_label("Option 2").fill("Friday")
    await dialog.get_by_text("Show the results only after the end").click()
    await dialog.get_by_role("button", name="Start a poll").click()
    started = await alice.wait_for_event(lambda event: is_from_oksana(event, f"{UNSTABLE}start"))
    poll = started["content"][f"{UNSTABLE}start"]
    assert (poll["question"][TEXT], poll["kind"]) == ("When?", f"{UNSTABLE}undisclosed")
    assert [answer[TEXT] for answer in poll["answers"]] == ["Monday", "Friday"]
    assert started["content"][TEXT] == "When?\n1. Monday\n2. Friday"

    friday = poll["answers"][1]["id"]
    reference = {"m.relates_to": {"rel_type": "m.reference", "event_id": started["event_id"]}}
    await send(alice, room, f"{UNSTABLE}response", {f"{UNSTABLE}response": {"answers": [friday]}} | reference)
    shown = page.get_by_role("group", name="When?")
    await expect(shown.get_by_text("1 person voted")).to_be_visible()
    await expect(shown.get_by_text("1 vote", exact=True)).to_have_count(0)
    await shown.get_by_role("button", name="End the poll").click()
    await page.get_by_role("dialog").get_by_role("button", name="End the poll").click()
    ended = await alice.wait_for_event(lambda event: is_from_oksana(event, f"{UNSTABLE}end"))
    assert ended["content"]["m.relates_to"] == reference["m.relates_to"]
    assert "Friday (1)" in ended["content"][TEXT]
    await expect(shown.get_by_text("1 vote", exact=True)).to_be_visible()


async def test_kinds_of_matrix_are_shown_on_the_page(
    city: RunningCity, alice: MatrixUser, room: str, page: Page
) -> None:
    log = page.get_by_role("log")
    picture = io.BytesIO()
    Image.effect_noise((512, 256), 80).convert("RGB").save(picture, "PNG")
    size = picture.tell()
    picture.seek(0)
    answer, _ = await alice.client.upload(picture, content_type="image/png", filename="p.png", filesize=size)
    assert isinstance(answer, nio.UploadResponse), answer
    mxc = answer.content_uri

    audio = {"org.matrix.msc1767.audio": {"duration": 65_000, "waveform": [0, 512, 1024]}}
    voice = {"url": mxc, "info": {"mimetype": "audio/ogg"}, "org.matrix.msc3245.voice": {}} | audio
    event_id = await alice.send_text(room, "Voice message.ogg", "m.audio", voice)
    media = (await message_of(city, event_id))["media"]
    assert (media["voice"], media["duration_ms"], media["waveform"]) == (True, 65_000, [0, 512, 1024])

    place = {"geo_uri": "geo:50.4501,30.5234;u=35", "org.matrix.msc3488.location": {"description": "Maidan"}}
    event_id = await alice.send_text(room, "I am here", "m.location", place)
    assert (await message_of(city, event_id))["location"]["latitude"] == 50.4501
    link = log.get_by_role("link", name="50.45010, 30.52340")
    await expect(link).to_have_attribute(
        "href", "https://www.openstreetmap.org/?mlat=50.450100&mlon=30.523400#map=16/50.450100/30.523400"
    )

    info = {"mimetype": "image/png", "w": 512, "h": 256}
    await send(alice, room, "m.sticker", {"body": "wave", "url": mxc, "info": info})
    sticker = log.get_by_role("img", name="wave")
    await expect(sticker).to_have_js_property("complete", True)
    assert await sticker.evaluate("image => image.clientWidth") == 192

    caption = {"url": mxc, "info": info, "filename": "p.png", "format": "org.matrix.custom.html"}
    await alice.send_text(room, "a *fine* picture", "m.image", caption | {"formatted_body": "a <em>fine</em> picture"})
    await expect(log.locator("em", has_text="fine")).to_be_visible()
    emoji = f'hello <img data-mx-emoticon src="{mxc}" alt=":cat:" title=":cat:"> <font color="#f00">red</font>'
    await alice.send_text(room, "hello :cat:", more={"format": "org.matrix.custom.html", "formatted_body": emoji})
    assert await log.get_by_role("img", name=":cat:").evaluate("image => image.clientHeight") < 30
    await alice.send_text(room, "waves", "m.emote")
    await expect(log.get_by_text("* Alice waves")).to_be_visible()
    await send(alice, room, "org.example.dance", {"m.text": [{"body": "dances a hopak"}]})
    await expect(log.get_by_text("dances a hopak")).to_be_visible()
    await expect(log.get_by_text("sent from another app")).to_be_visible()


@pytest.mark.usefixtures("room")
async def test_emote_and_room_mention_of_page_reach_matrix(alice: MatrixUser, page: Page) -> None:
    await page.get_by_role("textbox").fill("/me waves back")
    await page.get_by_role("textbox").press("Enter")
    emote = await alice.wait_for_event(lambda event: event["content"].get("body") == "waves back")
    assert (emote["sender"], emote["content"]["msgtype"]) == (GHOST, "m.emote")
    await page.get_by_role("textbox").fill("attention, @room")
    await page.get_by_role("textbox").press("Enter")
    plain = await alice.wait_for_event(lambda event: event["content"].get("body") == "attention, @room")
    assert plain["content"]["m.mentions"] == {}, "the power level of a citizen's ghost does not allow it"
