"""The city's pages in a real browser, with a real city and a Matrix user in the same room."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import nio
import pytest
import pytest_asyncio
from PIL import Image
from playwright.async_api import FrameLocator, Response, expect

from tests.parts.agents_core import DONE, ScriptedCore, delta, pauses
from tests.parts.browser import Browser, serve_page, start_browser
from tests.parts.city import RunningCity, eventually
from tests.parts.matrix_user import MatrixUser
from tests.parts.ports import HOST
from tests.parts.synapse import boot
from tests.parts.visitor import Visitor

pytestmark = pytest.mark.asyncio(loop_scope="module")

AWAY_S: Final = 300
AGENTS: Final = """
agents:
  - slug: daarwizz
    display_name: DAARWIZZ
    title: Оркестратор microDAO
    color: "#7c3aed"
    microdao: daarion
    microdao_role: orchestrator
    rooms: [general]
  - slug: varta
    display_name: Варта
    node_id: node-1
    node_role: guardian
    rooms: [general]
  - slug: hospodar
    display_name: Господар
    node_id: node-1
    node_role: steward
    rooms: [builders]
"""

PAGES: Final = {
    "/": "DAARION",
    "/city": "Rooms of the city",
    "/city/general": "General",
    "/secondme": "Second Me",
    "/search": "Search in messages",
    "/places": "Places of the city",
    "/agents": "Agents of the city",
    "/agents/daarwizz": "DAARWIZZ",
    "/nodes/node-1": "node-1",
    "/microdao/daarion": "daarion",
    "/nowhere": "There is no such street",
}
"""Each with what its title begins with."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def core() -> AsyncIterator[ScriptedCore]:
    async with ScriptedCore().serving() as core:
        yield core


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client() -> AsyncIterator[str]:
    """The origin of a Matrix client."""
    async with serve_page(CLIENT) as origin:
        yield origin


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city(tmp_path_factory: pytest.TempPathFactory, core: ScriptedCore) -> AsyncIterator[RunningCity]:
    directory = tmp_path_factory.mktemp("pages")

    async def boot_here(**options: Any) -> Any:
        return await boot(directory / "synapse", **options)

    settings: dict[str, str | float] = {
        "sign_in.name": True,
        "sign_in.matrix": True,
        "web.away_after_s": AWAY_S,
        "agents_core.url": core.url,
    }
    url = f"sqlite:///{directory / 'city.db'}"
    city = await RunningCity.make(directory / "city", url, boot_here, homeserver=None, settings=settings, agents=AGENTS)
    ancestors = "frame_ancestors: "
    city.config.write_text(city.config.read_text().replace(f"{ancestors}[]", f'{ancestors}["http://{HOST}:*"]'))
    try:
        await city.start()
        yield city
    finally:
        await city.close()
        city.homeserver.kill()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with start_browser() as browser:
        yield browser


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def alice(city: RunningCity) -> AsyncIterator[MatrixUser]:
    person = await MatrixUser.arrive(city.homeserver, "alice")
    yield person
    await person.leave()


# --- people -------------------------------------------------------------------------------------------


async def presence_of(city: RunningCity, user: str) -> str:
    presences = (await city.get(f"/api/v1/presence?ids={user}"))["presences"]
    return str(presences[0]["status"])


def shows(city: RunningCity, user: str, status: str) -> Callable[[], Awaitable[bool]]:
    async def shown() -> bool:
        return await presence_of(city, user) == status

    return shown


# --- together -----------------------------------------------------------------------------------------


async def test_page_and_matrix_users_share_one_room(city: RunningCity, browser: Browser, alice: MatrixUser) -> None:
    matrix_room = await alice.join("#city_general:city.localhost")
    oksana = await Visitor.open(browser, city, "/city/general", "Оксана")
    ivan = await Visitor.open(browser, city, "/city/general", "Іван")

    # What one says, all see; once.
    await oksana.say("Добрий вечір!")
    await alice.wait_for(lambda: any(body == "Добрий вечір!" for _, body in alice.messages))
    await alice.send_text(matrix_room, "Вітаю з Matrix")
    for visitor in (oksana, ivan):
        await visitor.sees("Добрий вечір!")
        await visitor.sees("Вітаю з Matrix")

    # Who types is seen on all sides, if they are members.
    await ivan.page.get_by_role("button", name="Join").click()
    ivans = await ivan.user_id(city)
    ivans_ghost = f"@citizen_{ivans}:city.localhost"
    await alice.wait_for(lambda: ivans_ghost in alice.client.rooms[matrix_room].users)
    await ivan.input.press_sequentially("думаю")
    await expect(oksana.page.get_by_text("Іван is typing…")).to_be_visible()
    await alice.wait_for(lambda: any(ivans_ghost in typists for typists in alice.typing))
    await alice.client.room_typing(matrix_room, typing_state=True)
    await expect(ivan.page.get_by_text("Alice is typing…")).to_be_visible()
    await ivan.input.press("Enter")
    await oksana.sees("думаю")

    # Who is here is seen, too: hidden is away, back is online, closed is offline.
    await eventually(shows(city, ivans, "online"))
    await alice.wait_for(lambda: alice.presence_of(ivans_ghost) == "online")
    await ivan.hides()
    await eventually(shows(city, ivans, "away"))
    await ivan.hides(hidden=False)
    await eventually(shows(city, ivans, "online"))
    others = await ivan.browser.open(f"{city.api_url}/")
    await others.page.get_by_role("button", name="Account: Іван").wait_for()
    await ivan.tab.close()
    await others.page.wait_for_timeout(500)
    assert await presence_of(city, ivans) != "offline", "another page of his is still open"
    await others.close()
    await eventually(shows(city, ivans, "offline"), 20)  # before the 40 s without a heartbeat
    await alice.wait_for(lambda: alice.presence_of(ivans_ghost) == "offline")
    assert oksana.tab.errors == []
    assert ivan.tab.errors == []


async def test_own_profile_reaches_pages_and_matrix(
    city: RunningCity, browser: Browser, alice: MatrixUser, tmp_path: Path
) -> None:
    matrix_room = await alice.join("#city_general:city.localhost")
    oksana = await Visitor.open(browser, city, "/city/general", "Орися")
    ivan = await Visitor.open(browser, city, "/city/general", "Іван")
    await oksana.say("моє перше слово")
    await ivan.sees("моє перше слово")
    ghost = f"@citizen_{await oksana.user_id(city)}:city.localhost"
    await alice.wait_for(lambda: any(body == "моє перше слово" for _, body in alice.messages))

    # The picture is larger than it is shown, and is made a square.
    Image.new("RGB", (900, 600), "#0a7d5a").save(tmp_path / "face.png")
    await oksana.page.get_by_role("button", name="Account: Орися").click()
    await oksana.page.get_by_role("button", name="Your profile").click()
    dialog = oksana.page.get_by_role("dialog", name="Your profile")
    await dialog.get_by_label("Name").fill("Орися з Подолу")
    await dialog.get_by_label("Status").fill("пишу літопис")
    await dialog.get_by_test_id("picture").set_input_files(tmp_path / "face.png")
    await expect(dialog.locator("img")).to_be_visible()
    await dialog.get_by_role("button", name="Save").click()
    await expect(dialog).to_have_count(0)
    await expect(oksana.page.get_by_role("button", name="Account: Орися з Подолу").locator("img")).to_be_visible()

    # Others see it without a reload: beside what was said, in the list of people, and on Matrix.
    row = ivan.log.get_by_role("article").filter(has_text="моє перше слово")
    await expect(row.get_by_role("button", name="Орися з Подолу")).to_be_visible()
    people = ivan.page.get_by_role("complementary", name="Who is in General now")
    await expect(people.get_by_text("Орися з Подолу")).to_be_visible()
    await expect(people.locator("img")).not_to_have_count(0)
    await alice.wait_for(lambda: alice.client.rooms[matrix_room].users[ghost].display_name == "Орися з Подолу")
    await alice.wait_for(lambda: alice.client.rooms[matrix_room].users[ghost].avatar_url is not None)
    downloaded = await alice.client.download(alice.client.rooms[matrix_room].users[ghost].avatar_url)
    assert isinstance(downloaded, nio.MemoryDownloadResponse)
    assert Image.open(BytesIO(downloaded.body)).size == (384, 384)

    # Another name of a Matrix user arrives, too.
    await alice.client.set_displayname("Аліса Ліддел")
    await expect(people.get_by_text("Аліса Ліддел")).to_be_visible()
    await alice.client.set_displayname("alice")
    assert oksana.tab.errors == []
    assert ivan.tab.errors == []


async def test_agent_answers_in_chat_of_page(city: RunningCity, browser: Browser, core: ScriptedCore) -> None:
    oksana = await Visitor.open(browser, city, "/agents/varta", "Мотря")
    await oksana.page.get_by_role("button", name="Write to them").click()
    field = oksana.page.get_by_role("textbox", name="Message to Варта")
    await field.fill("Добрий день")
    # It replies while it is online.
    token = await city.agent_token("varta")
    assert (await city.call("POST", "/api/v1/agents/varta/heartbeat", {}, token=token))[0] == 200
    ready = asyncio.Event()
    comment = b":\n\n"
    core.next(pauses(ready, comment, delta("Радий "), delta("знайомству"), DONE))
    await field.press("Enter")
    # Before the answer, which quotes it.
    await oksana.sees("Добрий день")
    ready.set()
    await oksana.sees("Радий знайомству")
    chats = oksana.page.get_by_role("list", name="Direct chats")
    await expect(chats.get_by_text("Варта").first).to_be_visible()
    session = await oksana.tab.run("localStorage.getItem('city.session')")

    async def is_linked() -> bool:
        (chat,) = await city.get("/city/direct", token=session)
        assert not chat["encrypted"]
        return bool(chat["matrix_status"] == "linked")

    await eventually(is_linked)
    assert oksana.tab.errors == []


async def test_page_after_outage_has_each_message_once(city: RunningCity, browser: Browser, alice: MatrixUser) -> None:
    matrix_room = await alice.join("#city_general:city.localhost")
    oksana = await Visitor.open(browser, city, "/city/general", "Соломія")
    ivan = await Visitor.open(browser, city, "/city/general", "Тарас")
    await oksana.say("перед тим")
    await ivan.sees("перед тим")

    city.service.kill()
    for visitor in (oksana, ivan):
        await expect(visitor.page.get_by_text("The connection to the city is lost")).to_be_visible()
    sent = [f"тим часом {number}" for number in range(5)]
    for body in sent:
        await alice.send_text(matrix_room, body)
    await oksana.say("я ще тут")
    await oksana.sees("я ще тут")
    await city.start()

    for visitor in (oksana, ivan):
        await expect(visitor.page.get_by_text("The connection to the city is lost")).to_be_hidden()
        for body in ("перед тим", *sent, "я ще тут"):
            await visitor.sees(body)
    bodies = await city.bodies()
    assert bodies.count("я ще тут") == 1
    assert [body for body in bodies if body in sent] == sent
    await alice.wait_for(lambda: [body for _, body in alice.messages].count("я ще тут") == 1)


# --- alone --------------------------------------------------------------------------------------------


async def test_second_me_response_is_shown_while_streamed(
    city: RunningCity, browser: Browser, core: ScriptedCore
) -> None:
    olha = await Visitor.open(browser, city, "/secondme", "Ольга")
    more = asyncio.Event()
    core.next(pauses(more, delta("Озеленіть "), delta("дахи біля ринку."), DONE))
    await olha.page.get_by_role("textbox", name="Question to Second Me").fill("Порадь ідею для району")
    await olha.page.get_by_role("button", name="Ask").click()
    await expect(olha.page.get_by_text("Озеленіть", exact=True)).to_be_visible()
    more.set()
    answer = olha.page.get_by_text("Озеленіть дахи біля ринку.").first
    await expect(answer).to_be_visible()
    assert core.requests[-1].content["input"] == "Порадь ідею для району"
    # It is remembered when it has come to its end, not with its last word.
    await olha.page.get_by_text(re.compile(r"^in [\d.,]+ s$")).wait_for()

    await olha.page.reload()
    await expect(answer).to_be_visible()
    await olha.page.get_by_role("button", name="Forget everything").click()
    await olha.page.get_by_role("dialog").get_by_role("button", name="Forget").click()
    await expect(answer).to_be_hidden()
    assert olha.tab.errors == []


async def test_page_language_follows_browser_or_choice(city: RunningCity, browser: Browser) -> None:
    reader = await browser.other_profile(locale="uk-UA")
    tab = await reader.open(f"{city.api_url}/city")
    await tab.page.get_by_role("heading", name="Кімнати").first.wait_for()
    assert await tab.run("document.documentElement.lang") == "uk"
    await tab.page.get_by_role("button", name="Налаштування вигляду й мови").click()
    await tab.page.get_by_label("English").click()
    await tab.page.get_by_role("heading", name="Rooms of the city").wait_for()
    await tab.page.reload()
    await tab.page.get_by_role("heading", name="Rooms of the city").wait_for()
    assert await tab.run("document.documentElement.lang") == "en"


async def test_element_widget_user_signs_in_by_openid(
    city: RunningCity, browser: Browser, client: str, alice: MatrixUser
) -> None:
    """The city opens in a Matrix client as a widget, and asks who one is."""
    answer = await alice.client.get_openid_token(alice.client.user_id)
    assert isinstance(answer, nio.GetOpenIDTokenResponse), answer
    proof = {
        "access_token": answer.access_token,
        "expires_in": answer.expires_in,
        "matrix_server_name": answer.matrix_server_name,
        "token_type": answer.token_type,
    }
    reader = await browser.other_profile(locale="en-US")
    tab = await reader.open(client)
    await tab.run("([city, proof]) => open_city(city, proof)", [f"{city.api_url}/", proof])
    widget: FrameLocator = tab.page.frame_locator("iframe")
    await widget.get_by_role("button", name="Sign in", exact=True).first.click()
    await widget.get_by_role("button", name="Sign in with Matrix").click()
    await expect(widget.get_by_role("button", name="Account: Alice")).to_be_visible()


CLIENT: Final = """<!doctype html><html lang="en"><title>A Matrix client</title><script>
/* As much of a client as a widget needs that only asks who one is (MSC1960). */
function open_city(city, proof) {
  const frame = document.createElement("iframe");
  frame.src = `${city}?widgetId=city&parentUrl=${encodeURIComponent(location.href)}`;
  addEventListener("message", ({ data, source }) => {
    if (source !== frame.contentWindow || data.response) return;
    const answers = {
      get_openid: () => ({ state: "allowed", ...proof }),
      supported_api_versions: () => ({ supported_versions: ["0.0.1", "0.0.2", "org.matrix.msc1960"] }),
    };
    const response = (answers[data.action] ?? (() => ({})))();
    source.postMessage({ ...data, response }, new URL(city).origin);
    if (data.action === "content_loaded") ask_what_it_may();
  });
  const ask_what_it_may = () =>
    frame.contentWindow.postMessage(
      { api: "toWidget", widgetId: "city", requestId: "1", action: "capabilities", data: {} },
      new URL(city).origin,
    );
  frame.addEventListener("load", ask_what_it_may);
  document.body.append(frame);
}
</script><body></body></html>"""


# --- how it comes ---------------------------------------------------------------------------------------


async def test_page_resources_are_same_origin_and_cached(city: RunningCity, browser: Browser) -> None:
    tab = await browser.open("about:blank")
    answers: list[Response] = []
    tab.page.on("response", lambda answer: answers.append(answer))  # noqa: PLW0108 - playwright marks what it is given
    await tab.page.goto(city.api_url)
    await tab.page.get_by_role("heading", level=1).wait_for()
    await tab.page.wait_for_load_state("networkidle")
    assert all(answer.url.startswith((f"{city.api_url}/", "data:", "blob:")) for answer in answers)
    assets = [answer for answer in answers if "/assets/" in answer.url]
    assert {answer.headers["cache-control"] for answer in assets} == {"public, max-age=31536000, immutable"}
    packed = {answer.headers.get("content-encoding") for answer in assets if answer.url.endswith((".js", ".css"))}
    assert packed <= {"br", None}
    assert "br" in packed
    assert tab.errors == []
