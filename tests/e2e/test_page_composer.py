"""Writing messages on the page of a room, beside a person on Matrix: emojis, previews, files, voice messages, code."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import nio
import pytest
import pytest_asyncio
from PIL import Image
from playwright.async_api import Locator, Page, Route, expect

from tests.parts.browser import start_browser, until_no_overlay, until_true
from tests.parts.city import RunningCity, citizen_token, eventually, shared_city
from tests.parts.matrix_user import MatrixUser
from tests.parts.message_rows import click_action

pytestmark = pytest.mark.asyncio(loop_scope="module")

AXE: Final = Path(__file__).parents[2] / "web/node_modules/axe-core/axe.min.js"
OKSANA: Final = citizen_token("u_1", "Оксана")
DROP: Final = """([type, names]) => {
  const transfer = new DataTransfer();
  for (const name of names) transfer.items.add(new File(["content of " + name], name, {type: "text/plain"}));
  const row = document.querySelector("[role=log]");
  row.dispatchEvent(new DragEvent(type, {dataTransfer: transfer, bubbles: true, cancelable: true}));
}"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningCity]:
    async with shared_city(tmp_path_factory.mktemp("composer")) as city:
        yield city


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def alice(city: RunningCity) -> AsyncIterator[MatrixUser]:
    person = await MatrixUser.arrive(city.homeserver, "alice")
    await person.join("#city_general:city.localhost")
    yield person
    await person.leave()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def page(city: RunningCity, alice: MatrixUser) -> AsyncIterator[Page]:
    session = [{"name": "city.session", "value": OKSANA}]
    async with start_browser(is_complete=True) as browser:
        reader = await browser.other_profile(
            locale="en-US",
            viewport={"width": 1280, "height": 800},
            permissions=["microphone", "clipboard-read", "clipboard-write"],
            storage_state={"cookies": [], "origins": [{"origin": city.api_url, "localStorage": session}]},
        )
        page = (await reader.open(f"{city.api_url}/city/general")).page
        await field_of(page).wait_for()
        yield page


def field_of(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Message to")


def log_of(page: Page) -> Locator:
    return page.get_by_role("log")


async def event_of(alice: MatrixUser, **fields: Any) -> dict[str, Any]:
    """The message with these fields in its content, once it arrives."""
    return await alice.wait_for_event(
        lambda event: event["type"] == "m.room.message" and fields.items() <= event["content"].items()
    )


async def send_picture(alice: MatrixUser, room: str, name: str) -> None:
    file = io.BytesIO()
    Image.effect_noise((1200, 900), 80).convert("RGB").save(file, "PNG")
    answer, _ = await alice.client.upload(
        io.BytesIO(file.getvalue()), content_type="image/png", filename=name, filesize=len(file.getvalue())
    )
    assert isinstance(answer, nio.UploadResponse), answer
    info = {"mimetype": "image/png", "size": len(file.getvalue()), "w": 1200, "h": 900}
    await alice.send_text(room, name, "m.image", {"url": answer.content_uri, "info": info})


async def test_emoji_is_found_in_both_languages(page: Page, alice: MatrixUser) -> None:
    field, main = field_of(page), page.get_by_role("main")
    await field.fill("Смачного ")
    for words, name in (("вареник", "dumpling"), ("sunflower", "sunflower")):
        await main.get_by_role("button", name="Emoji", exact=True).click()
        search = main.get_by_role("searchbox", name="Find an emoji")
        await expect(search).to_be_focused()
        await search.fill(words)
        await main.get_by_role("gridcell", name=name, exact=True).click()
        await expect(field).to_be_focused()
    await expect(field).to_have_value("Смачного 🥟🌻")
    await field.press("Enter")
    await event_of(alice, body="Смачного 🥟🌻")


async def test_any_emoji_can_be_a_reaction(page: Page, alice: MatrixUser, city: RunningCity) -> None:
    sent = await alice.send_text(await alice.join("#city_general:city.localhost"), "Котик прийшов")
    row = log_of(page).get_by_role("article").filter(has_text="Котик прийшов")
    await click_action(row, "Add a reaction")
    await row.get_by_role("button", name="All emojis").click()
    search = row.get_by_role("searchbox", name="Find an emoji")
    await search.fill("хитр")
    await expect(row.get_by_role("gridcell", name="fox")).to_be_visible()
    await search.press("ArrowDown")
    await search.press("Enter")
    await expect(row.get_by_role("button", name=": 1 person")).to_be_visible()
    reaction = await alice.wait_for_event(lambda event: event["type"] == "m.reaction")
    assert reaction["content"]["m.relates_to"]["event_id"] == sent


async def test_command_without_words_is_not_sent(page: Page, alice: MatrixUser) -> None:
    field = field_of(page)
    await field.press_sequentially("/m")
    await page.get_by_role("option").wait_for()
    await field.press("Enter")
    await expect(field).to_have_value("/me ")
    await field.press("Enter")
    await expect(field).to_have_value("/me ")
    await field.press_sequentially("махає")
    await field.press("Enter")
    await event_of(alice, body="махає", msgtype="m.emote")
    await expect(log_of(page).get_by_text("/me")).to_have_count(0)


async def test_preview_shows_what_is_sent(page: Page, alice: MatrixUser) -> None:
    field, main = field_of(page), page.get_by_role("main")
    await field.fill("*Гарно* написано\n- раз\n- два")
    await main.get_by_role("button", name="Show how it will look").click()
    preview = main.get_by_role("region", name="How the message will look")
    await expect(preview.locator("em")).to_have_text("Гарно")
    await expect(preview.get_by_role("listitem")).to_have_count(2)
    await field.press("Enter")
    await expect(preview).to_have_count(0)
    event = await event_of(alice, body="*Гарно* написано\n- раз\n- два")
    assert "<em>Гарно</em>" in event["content"]["formatted_body"]


async def test_dropped_files_are_sent_but_removed_ones(page: Page, alice: MatrixUser) -> None:
    main = page.get_by_role("main")
    await page.evaluate(DROP, ["dragenter", ["a.txt"]])
    await expect(main.get_by_text("Drop the files here")).to_be_visible()
    await page.evaluate(DROP, ["drop", ["first.txt", "second.txt", "third.txt"]])
    await expect(main.get_by_text("Drop the files here")).to_have_count(0)
    files = main.get_by_role("list", name="Files of the message")
    await expect(files.get_by_role("listitem")).to_have_count(3)
    await files.get_by_role("button", name="Remove second.txt").click()
    await field_of(page).fill("Обидва файли")
    await main.get_by_role("button", name="Send", exact=True).click()
    first = await event_of(alice, msgtype="m.file", body="Обидва файли")
    assert first["content"]["filename"] == "first.txt"
    await event_of(alice, msgtype="m.file", body="third.txt")
    assert "second.txt" not in str(alice.events)


def voices_of(alice: MatrixUser) -> int:
    """The number of audio messages that a person on Matrix has received."""
    return sum(event["content"].get("msgtype") == "m.audio" for event in alice.events)


async def play(voice: Locator) -> None:
    """Play a voice message; once more if it stops before it began, as on a machine that is too busy to open its audio output."""
    players: list[dict[str, Any]] = []

    async def is_played() -> bool:
        players[:] = await voice.locator("audio").evaluate_all(
            """players => players.map(({ currentTime, paused, networkState, readyState, error, src }) =>
                ({ currentTime, paused, networkState, readyState, error: error?.message, src }))"""
        )
        if all(player["paused"] and player["currentTime"] == 0 for player in players):
            await voice.get_by_role("button", name="Play").click()
        return any(player["currentTime"] > 0 for player in players)

    await eventually(is_played, explain=lambda: str(players))


async def test_voice_message_is_one_on_matrix_and_plays(page: Page, alice: MatrixUser) -> None:
    main = page.get_by_role("main")
    await main.get_by_role("button", name="Record a voice message").click()
    recorder = main.get_by_role("group", name="Recording of a voice message")
    await expect(recorder.get_by_role("timer")).to_have_text("0:02")
    await recorder.get_by_role("button", name="Stop recording").click()
    await recorder.get_by_role("button", name="Play").click()
    await recorder.get_by_role("button", name="Send the voice message").click()
    event = await event_of(alice, msgtype="m.audio")
    content = event["content"]
    assert content["org.matrix.msc3245.voice"] == {}
    assert 1_000 < content["org.matrix.msc1767.audio"]["duration"] < 60_000
    waveform = content["org.matrix.msc1767.audio"]["waveform"]
    assert waveform
    assert max(waveform) > 0
    assert content["info"]["mimetype"] == "audio/ogg"
    answer = await alice.client.download(content["url"])
    assert isinstance(answer, nio.MemoryDownloadResponse), answer
    assert answer.body.startswith(b"OggS")
    assert b"OpusHead" in answer.body[:100]

    voice = log_of(page).get_by_role("article").last.get_by_role("group", name="Voice message")
    await play(voice)


async def test_cancelled_recording_is_not_sent(page: Page, alice: MatrixUser) -> None:
    main = page.get_by_role("main")
    voices = voices_of(alice)
    await main.get_by_role("button", name="Record a voice message").click()
    recorder = main.get_by_role("group", name="Recording of a voice message")
    await recorder.get_by_role("button", name="Stop recording").press("Escape")
    await expect(recorder).to_have_count(0)
    await expect(field_of(page)).to_be_focused()
    await field_of(page).fill("без голосу")
    await field_of(page).press("Enter")
    await event_of(alice, body="без голосу")
    assert voices_of(alice) == voices


async def test_recording_that_the_microphone_ended_can_be_sent(page: Page, alice: MatrixUser) -> None:
    """As when a headset is switched off: the recording stops by itself, and what was said until then is there."""
    main = page.get_by_role("main")
    await page.evaluate("""() => {
        const ask = MediaDevices.prototype.getUserMedia;
        navigator.mediaDevices.getUserMedia = async function (wanted) {
            return (window.microphone = await ask.call(this, wanted));
        };
    }""")
    await main.get_by_role("button", name="Record a voice message").click()
    recorder = main.get_by_role("group", name="Recording of a voice message")
    await expect(recorder.get_by_role("timer")).to_have_text("0:01")
    voices = voices_of(alice)
    await page.evaluate("microphone.getTracks().forEach(track => track.stop())")
    await expect(recorder.get_by_role("button", name="Play")).to_be_visible()
    await recorder.get_by_role("button", name="Send the voice message").click()

    async def is_sent() -> bool:
        return voices_of(alice) > voices

    await eventually(is_sent)


IS_HIT_DURING_SCROLL = """button => {
    const row = button.closest("article");
    row.style.pointerEvents = "none"; // as virtua does to the rows while the list scrolls
    const { left, top, width, height } = button.getBoundingClientRect();
    const isHit = button.contains(document.elementFromPoint(left + width / 2, top + height / 2));
    row.style.pointerEvents = "";
    return isHit;
}"""
"""Whether a click on the button of a message hits it while the list scrolls."""


async def test_long_message_and_code_from_matrix(page: Page, alice: MatrixUser) -> None:
    room = await alice.join("#city_general:city.localhost")
    await alice.send_text(room, "\n".join(f"рядок довгого листа {number}" for number in range(60)))
    row = log_of(page).get_by_role("article").last
    await row.get_by_role("button", name="Show more").press("Enter")
    height = "node => node.getBoundingClientRect().height"
    full = await row.evaluate(height)
    less = row.get_by_role("button", name="Show less")
    await less.scroll_into_view_if_needed()
    assert await less.evaluate(IS_HIT_DURING_SCROLL)
    await less.press("Enter")
    await expect(row.get_by_role("button", name="Show more")).to_be_visible()
    assert await row.evaluate(height) < full / 2

    html = '<pre><code class="language-python">def hello():\n    return "вітаю"\n</code></pre>'
    more = {"format": "org.matrix.custom.html", "formatted_body": html}
    await alice.send_text(room, 'def hello():\n    return "вітаю"', "m.text", more)
    code = log_of(page).get_by_role("article").last
    await expect(code.locator("code span", has_text="def").first).to_be_visible()
    await code.get_by_role("button", name="Copy the code").press("Enter")
    await expect(code.get_by_role("button", name="Copied")).to_be_visible()
    assert await page.evaluate("() => navigator.clipboard.readText()") == 'def hello():\n    return "вітаю"'


async def test_picture_viewer_zooms_and_opens_other_pictures(page: Page, alice: MatrixUser) -> None:
    room = await alice.join("#city_general:city.localhost")
    for name in ("перша.png", "друга.png"):
        await send_picture(alice, room, name)
    opener = log_of(page).get_by_role("button", name="Show друга.png larger")
    await opener.press("Enter")
    viewer = page.get_by_role("dialog", name="Picture")
    await expect(viewer).to_contain_text("друга.png")
    await expect(viewer).to_contain_text("2 of 2")
    await expect(viewer.get_by_role("button", name="Close")).to_be_focused()
    image = viewer.get_by_role("img")
    width = "node => node.getBoundingClientRect().width"
    # The picture is loaded after its name is shown.
    await until_true(page, "() => document.querySelector('dialog img').getBoundingClientRect().width > 0")
    whole = await image.evaluate(width)
    await page.keyboard.press("+")
    await expect(image).to_have_attribute("style", re.compile("scale.1.4."))
    await image.hover()
    await page.mouse.wheel(0, -400)
    await until_true(page, "() => document.querySelector('dialog img').style.transform.match(/scale.3.11/)")
    assert await image.evaluate(width) > 2.5 * whole
    # The policy of the page allows no script elements, so axe runs as a script of the debugger.
    await page.evaluate(AXE.read_text())
    found = await page.evaluate("axe.run(document.querySelector('dialog[open]'))")
    assert [(fault["id"], [node["html"] for node in fault["nodes"]]) for fault in found["violations"]] == []
    await page.keyboard.press("ArrowLeft")
    await expect(viewer).to_contain_text("перша.png")
    await until_true(
        page, "whole => document.querySelector('dialog img').getBoundingClientRect().width === whole", whole
    )
    following = viewer.get_by_role("button", name="Next picture")
    await following.press("Enter")
    await expect(viewer).to_contain_text("друга.png")
    await expect(following).to_be_focused()
    await page.keyboard.press("ArrowLeft")
    await expect(viewer).to_contain_text("перша.png")
    async with page.expect_download() as download:
        await viewer.get_by_role("link", name="Download перша.png").click()
    assert (await download.value).suggested_filename == "перша.png"
    await page.keyboard.press("Escape")
    await expect(viewer).to_have_count(0)
    await expect(opener).to_be_focused()


async def test_picture_in_viewer_stays_when_its_message_is_sent(page: Page, city: RunningCity, tmp_path: Path) -> None:
    Image.effect_noise((640, 480), 80).convert("RGB").save(tmp_path / "нова.png")
    is_free = asyncio.Event()

    async def hold(route: Route) -> None:
        await is_free.wait()
        await route.continue_()

    await page.route("**/city/rooms/*/messages", hold)
    # Other tests count the pictures of General.
    await until_no_overlay(page)
    await page.goto(f"{city.api_url}/city/welcome")
    await page.locator("input[type=file]").first.set_input_files(tmp_path / "нова.png")
    await page.get_by_role("button", name="Send").click()
    await log_of(page).get_by_role("button", name="Show нова.png larger").press("Enter")
    viewer = page.get_by_role("dialog", name="Picture")
    await expect(viewer.get_by_role("img")).to_have_js_property("naturalWidth", 640)
    is_free.set()
    await expect(log_of(page).get_by_text("Sending", exact=True)).to_have_count(0)
    await page.unroute("**/city/rooms/*/messages")
    async with page.expect_download() as download:
        await viewer.get_by_role("link", name="Download нова.png").click()
    assert (await download.value).suggested_filename == "нова.png"
    assert await (await download.value).failure() is None
    await page.keyboard.press("Escape")
    await expect(viewer).to_have_count(0)
    await until_no_overlay(page)
    await page.goto(f"{city.api_url}/city/general")
    await field_of(page).wait_for()


async def test_message_is_sent_once_its_file_is_uploaded(page: Page, alice: MatrixUser, tmp_path: Path) -> None:
    (tmp_path / "звіт.txt").write_text("слова")
    is_free = asyncio.Event()

    async def hold(route: Route) -> None:
        await is_free.wait()
        await route.continue_()

    await page.route("**/city/media**", hold)
    await page.locator("input[type=file]").first.set_input_files(tmp_path / "звіт.txt")
    await page.get_by_role("progressbar").wait_for()
    await field_of(page).fill("ось звіт")
    await field_of(page).press("Enter")
    await expect(page.get_by_role("button", name="Sending", exact=True)).to_be_disabled()
    await expect(field_of(page)).to_have_value("ось звіт")
    is_free.set()
    await event_of(alice, msgtype="m.file", body="ось звіт")
    await expect(field_of(page)).to_have_value("")
    await expect(page.get_by_role("button", name="Send", exact=True)).to_be_disabled()
    await page.unroute("**/city/media**")


async def test_draft_is_not_shown_to_the_next_person(page: Page, city: RunningCity) -> None:
    field = field_of(page)
    await field.fill("тільки для мене")
    switch = """token => {
        localStorage.setItem("city.session", token);
        dispatchEvent(new StorageEvent("storage", {key: "city.session", newValue: token}));
    }"""
    await page.evaluate(switch, citizen_token("u_2", "Тарас"))
    await expect(field).to_have_value("")
    await page.evaluate(switch, OKSANA)
    await expect(field).to_have_value("тільки для мене")
    await field.fill("")
