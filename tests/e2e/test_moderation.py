"""Moderation of a room in a Matrix client, its effect in the city, and members and receipts on both sides."""

from __future__ import annotations

from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import nio
import pytest
import pytest_asyncio
from PIL import Image
from playwright.async_api import expect

from tests.parts.browser import start_browser
from tests.parts.city import ADMIN_TOKEN, RunningCity, citizen_token, eventually, shared_city
from tests.parts.frames import next_frame
from tests.parts.matrix_user import MatrixUser
from tests.parts.message_rows import click_action
from tests.parts.moderated_room import (
    Room,
    looked_after,
    looked_after_by_nobody,
    open_page,
    pinned_in,
    state_as_bot,
    state_of,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCRIBES_GHOST = "@agent_scribe:city.localhost"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningCity]:
    """One city for all tests, each of which opens a room of its own."""
    agents = "\nagents:\n  - slug: scribe\n    display_name: Писар\n    rooms: [builders]\n"
    async with shared_city(tmp_path_factory.mktemp("moderation"), agents=agents) as city:
        yield city


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def olena(city: RunningCity) -> AsyncIterator[MatrixUser]:
    person = await MatrixUser.arrive(city.homeserver, "olena")
    yield person
    await person.leave()


@pytest_asyncio.fixture(loop_scope="module")
async def room(city: RunningCity, olena: MatrixUser, request: pytest.FixtureRequest) -> Room:
    slug = request.node.name.removeprefix("test_")[:30].strip("_").replace("_", "-")
    await city.post("/city/rooms", {"name": slug, "slug": slug}, token=citizen_token("u_founder"))
    return await looked_after(city, olena, slug)


async def test_citizen_join_and_leave_are_seen_on_both_sides(room: Room) -> None:
    status, joined = await room.joins()
    assert (status, joined["joined"]) == (200, True)
    await room.has(room.ghost)
    await room.olena.wait_for(lambda: room.olena.client.rooms[room.matrix_room].user_name(room.ghost) == "Оксана")

    assert (await room.city.call("POST", f"{room.path}/leave", token=room.oksana))[1]["joined"] is False
    await room.has(room.ghost, joined=False)
    await room.olena.wait_for(lambda: room.ghost not in room.olena.client.rooms[room.matrix_room].users)


async def test_kicked_citizen_reads_reason_and_may_rejoin(room: Room) -> None:
    await room.joins()
    await room.has(room.ghost)
    await room.olena.client.room_kick(room.matrix_room, room.ghost, reason="галас")
    assert "галас" in (await room.is_refused("kicked"))["detail"]
    assert (await room.city.call("PUT", f"{room.path}/typing", {}, token=room.oksana))[1]["code"] == "kicked"

    assert (await room.joins())[0] == 200
    await room.is_received("я більше не буду")


async def test_banned_citizen_gets_error_without_retries(room: Room) -> None:
    await room.is_received("купуйте слонів")
    await room.olena.client.room_ban(room.matrix_room, room.ghost, reason="реклама")
    assert "реклама" in (await room.is_refused("banned"))["detail"]
    assert (await room.joins())[1]["code"] == "banned"

    async def is_not_online() -> bool:
        return room.ghost not in {each["matrix_user_id"] for each in await _online(room)}

    await eventually(is_not_online)

    async def nothing_waits() -> bool:
        messages = await room.city.get(f"{room.path}/messages")
        return all(message["delivery"] != "pending" for message in messages)

    await eventually(nothing_waits)
    assert room.ghost not in await room.members()
    await room.olena.client.room_unban(room.matrix_room, room.ghost)
    await room.is_received("слонів більше нема")


async def test_banned_home_agent_stays_out_until_unban(city: RunningCity, olena: MatrixUser) -> None:
    builders = await looked_after(city, olena, "builders")
    await builders.has(SCRIBES_GHOST)
    token = await city.agent_token("scribe")
    await olena.client.room_ban(builders.matrix_room, SCRIBES_GHOST)
    await builders.is_refused("banned", token)
    # Whatever changes in the city is a reason to see whether everybody is at home.
    assert (await city.command("agent", "add", "newcomer", "--name", "Новий", "--room", "builders")).code == 0
    await builders.has("@agent_newcomer:city.localhost")
    assert SCRIBES_GHOST not in await builders.members()
    assert "ghost_setup_failed" not in "\n".join(city.service.last_lines(1000))

    await olena.client.room_unban(builders.matrix_room, SCRIBES_GHOST)
    await builders.has(SCRIBES_GHOST)
    await builders.is_received("я знову вдома", token)


async def test_citizen_without_power_is_read_only(room: Room) -> None:
    await room.is_received("усім добридень")
    levels = {"users": {room.olena.client.user_id: 100}, "events_default": 50, "events": {"m.reaction": 0}}
    await room.sets("m.room.power_levels", levels)
    await room.is_refused("muted")
    message = (await room.city.get(f"{room.path}/messages"))[0]
    status, _ = await room.city.call("PUT", f"{room.path}/messages/{message['id']}/reactions/👍", token=room.oksana)
    assert status == 200
    assert room.ghost in await room.members(), "it is still there"

    await room.sets("m.room.power_levels", levels | {"events_default": 0})
    await room.is_received("знову можна")


async def test_uninvited_join_of_invite_room_refused(room: Room) -> None:
    await room.is_received("я вже тут")
    await room.sets("m.room.join_rules", {"join_rule": "invite"})
    stranger, guest = citizen_token("u_stranger", "Чужа"), citizen_token("u_guest", "Гостя")
    await room.is_refused("invite_only", stranger)
    assert (await room.joins(stranger))[1]["code"] == "invite_only"
    await room.is_received("я й досі тут")
    assert "@citizen_u_stranger:city.localhost" not in await room.members(), "nobody has invited it in their place"

    ghost = "@citizen_u_guest:city.localhost"
    await room.city.post("/city/rooms/general/messages", {"body": "я є"}, token=guest)

    async def is_invited() -> bool:
        # The ghost exists from its first message on, and can be invited then.
        answer = await room.olena.client.room_invite(room.matrix_room, ghost)
        return isinstance(answer, nio.RoomInviteResponse)

    await eventually(is_invited)
    await room.is_received("дякую за запрошення", guest)


async def test_matrix_profile_change_updates_city_member(room: Room) -> None:
    seq = (await room.city.get(room.path))["last_seq"]
    async with room.city.session.ws_connect(f"{room.city.api_url}/ws/city/rooms/{room.slug}?since={seq}") as socket:
        await room.olena.client.set_displayname("Олена Пчілка")
        while (frame := await next_frame(socket))["event"] != "city.room.member":
            continue
    assert (frame["member"]["id"], frame["member"]["display_name"]) == ("@olena:city.localhost", "Олена Пчілка")

    async def is_shown() -> bool:
        return "Олена Пчілка" in {each["display_name"] for each in await _online(room)}

    await eventually(is_shown)

    await room.is_received("мене звуть Оксана")
    renamed = citizen_token(f"u_{room.slug}", "Оксана Косач")
    await room.is_received("а тепер інакше", renamed)
    renaming = await room.olena.wait_for_event(
        lambda event: event.get("state_key") == room.ghost and event["content"].get("displayname") == "Оксана Косач"
    )
    assert renaming["room_id"] == room.matrix_room


async def test_citizen_read_mark_is_seen_on_matrix(room: Room) -> None:
    seen: list[tuple[str, str, str | None]] = []

    async def see(_room: nio.MatrixRoom, event: nio.ReceiptEvent) -> None:
        seen.extend((each.user_id, each.event_id, each.thread_id) for each in event.receipts)

    room.olena.client.add_ephemeral_callback(see, (nio.ReceiptEvent,))
    await room.joins()
    await room.has(room.ghost)
    first, second = [await room.olena.send_text(room.matrix_room, body) for body in ("перше", "друге")]

    async def both_came() -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = await room.city.get(f"{room.path}/messages")
        return messages if len(messages) == 2 else []

    messages = await eventually(both_came)
    url = f"{room.city.api_url}/ws/city/rooms/{room.slug}?token={room.oksana}"
    async with room.city.session.ws_connect(url) as socket:
        await socket.send_json({"event": "city.room.read", "message_id": messages[0]["id"]})
        await room.olena.wait_for(lambda: (room.ghost, first, "main") in seen)
        await socket.send_json({"event": "city.room.read", "message_id": "nothing"})
        while (frame := await next_frame(socket))["event"] != "error":
            continue
        assert frame["code"] == "no_such_message"
    read = {"message_id": messages[1]["id"]}
    assert (await room.city.call("PUT", f"{room.path}/read", read, token=room.oksana))[0] == 204
    await room.olena.wait_for(lambda: (room.ghost, second, "main") in seen)


async def test_join_during_outage_is_sent_after_it(room: Room) -> None:
    room.city.homeserver.kill()
    try:
        status, joined = await room.joins()
        assert (status, joined["joined"]) == (200, True)
        status, message = await room.posts("є хто?")
        assert (status, message["delivery"]) == (201, "pending")
        await room.city.call("POST", f"{room.path}/join", token=citizen_token("u_brief", "Проїздом"))
        await room.city.call("POST", f"{room.path}/leave", token=citizen_token("u_brief", "Проїздом"))
    finally:
        await room.city.homeserver.restart()
    await room.has(room.ghost)
    await room.olena.wait_for(lambda: (room.ghost, "є хто?") in room.olena.messages)

    async def is_sent() -> bool:
        return bool((await room.city.get(f"{room.path}/messages"))[-1]["delivery"] == "sent")

    await eventually(is_sent)
    assert "@citizen_u_brief:city.localhost" not in await room.members()
    url = f"{room.city.api_url}/ws/city/rooms/{room.slug}?since=0"
    async with room.city.session.ws_connect(url) as socket:
        frame = [await next_frame(socket) for _ in range(6)]
    came = [each["member"]["id"] for each in frame if each["event"] == "city.room.join"]
    assert came.count(f"u_{room.slug}") == 1, "it was written down once"


async def _online(room: Room) -> list[dict[str, Any]]:
    online: list[dict[str, Any]] = (await room.city.get(room.path))["online_members"]
    return online


# --- moderation in the pages --------------------------------------------------------------------------


async def test_moderator_works_in_the_pages(room: Room, petro: MatrixUser) -> None:
    await room.joins()
    await petro.join(f"#city_{room.slug}:city.localhost")
    levels = {"users": {room.olena.client.user_id: 100, room.ghost: 50}}
    await room.sets("m.room.power_levels", levels)
    advert = await petro.send_text(room.matrix_room, "купуйте слонів")
    async with start_browser() as browser:
        page = await open_page(room, browser, "uk-UA")
        log = page.get_by_role("main").get_by_role("log")
        row = log.get_by_role("article").filter(has_text="слонів")
        pins = page.get_by_role("region", name="Закріплені повідомлення")
        await click_action(row, "Закріпити")
        await expect(pins.get_by_text("купуйте слонів")).to_be_visible()
        assert await pinned_in(room) == [advert]
        await room.sets("m.room.pinned_events", {"pinned": []})
        await expect(pins).to_be_hidden()
        await room.sets("m.room.pinned_events", {"pinned": [advert]})
        await expect(pins).to_be_visible()

        await click_action(row, "Видалити")
        await page.get_by_role("dialog").get_by_role("button", name="Видалити").click()
        await expect(pins).to_be_hidden()
        await petro.wait_for_event(lambda event: event["type"] == "m.room.redaction" and event["redacts"] == advert)

        await log.get_by_role("button", name="petro").first.click()
        await page.get_by_role("button", name="Заблокувати в кімнаті").click()
        asked = page.get_by_role("dialog", name="Заблокувати")
        await asked.get_by_role("textbox").fill("спам")
        await asked.get_by_role("button", name="Заблокувати").click()
        await expect(asked).to_be_hidden()
        await expect(log.get_by_text("Оксана блокує в кімнаті: petro. Причина: спам")).to_be_visible()
        assert (await state_of(room, "m.room.member", petro.client.user_id))["membership"] == "ban"

        page = await open_page(room, browser, "en-US")
        await page.get_by_role("button", name="More about the room").click()
        await page.get_by_role("button", name="Room settings").click()
        settings = page.get_by_role("dialog", name="Room settings")
        await settings.get_by_role("button", name="Lift the ban").click()
        await expect(settings.get_by_role("button", name="Lifted")).to_be_visible()
        await petro.join(f"#city_{room.slug}:city.localhost")
        await settings.get_by_role("textbox", name="name").fill("Тиха кімната")
        await settings.get_by_role("radio", name="Moderators only").check()
        await settings.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("heading", name="Тиха кімната")).to_be_visible()
        await room.olena.wait_for(lambda: room.olena.client.rooms[room.matrix_room].name == "Тиха кімната")
        assert (await state_of(room, "m.room.power_levels"))["events_default"] == 49


async def test_creator_moderates_own_room(city: RunningCity, olena: MatrixUser) -> None:
    owner, taras = citizen_token("u_owner", "Власниця"), citizen_token("u_owner_2", "Тарас")
    await city.post("/city/rooms", {"name": "Її кімната", "slug": "own"}, token=owner)
    room = await looked_after_by_nobody(city, olena, "own")
    assert (await state_of(room, "m.room.power_levels"))["users"]["@citizen_u_owner:city.localhost"] == 100
    assert (await room.joins(owner))[0] == 200
    assert all((await city.get(room.path, token=owner))["rights"].values())
    kicked = {"subject": olena.client.user_id, "reason": "тиша"}
    assert (await city.call("POST", f"{room.path}/kick", kicked, token=taras))[0] == 403
    assert (await city.call("POST", f"{room.path}/kick", kicked, token=owner))[0] == 204
    member = await state_as_bot(city, room.matrix_room, f"m.room.member/{quote(olena.client.user_id)}")
    assert (member["membership"], member["reason"]) == ("leave", "тиша")

    for token in (owner, taras):
        await city.call("POST", "/api/v1/presence/heartbeat", {"status": "online"}, token=token)
    chat = (await city.call("POST", "/city/direct", {"with": "citizen:u_owner_2"}, token=owner))[1]

    async def matrix_room() -> Any:
        listed = await city.get("/city/direct", token=owner)
        return next((each["matrix_room_id"] for each in listed if each["matrix_status"] == "linked"), None)

    levels = await state_as_bot(city, await eventually(matrix_room), "m.room.power_levels")
    pair = {"@citizen_u_owner:city.localhost": 100, "@citizen_u_owner_2:city.localhost": 100}
    assert pair.items() <= levels["users"].items()
    assert not any((await city.get(f"/city/rooms/{chat['id']}", token=owner))["rights"].values())


async def test_agent_added_to_room_of_moderators_writes(city: RunningCity, room: Room) -> None:
    await room.sets("m.room.power_levels", await state_of(room, "m.room.power_levels") | {"events_default": 49})

    async def is_closed() -> bool:
        return str((await city.get(room.path))["writers"]) == "moderators"

    await eventually(is_closed)
    poet = {"display_name": "Поет", "rooms": [room.slug]}
    assert (await city.call("PUT", "/api/v1/agents/poet", poet, token=ADMIN_TOKEN))[0] in {200, 201}

    async def has_level() -> bool:
        users: dict[str, int] = (await state_of(room, "m.room.power_levels"))["users"]
        return users.get("@agent_poet:city.localhost") == 49

    await eventually(has_level)


async def test_room_picture_follows_both_sides(room: Room, tmp_path: Path) -> None:
    await room.joins()
    await room.sets("m.room.power_levels", {"users": {room.olena.client.user_id: 100, room.ghost: 50}})
    drawn = (await state_of(room, "m.room.avatar"))["url"]
    Image.new("RGB", (300, 200), "#0a7d5a").save(tmp_path / "house.png")
    async with start_browser() as browser:
        page = await open_page(room, browser, "uk-UA")
        shown = page.get_by_role("main").locator("header img")
        listed = page.get_by_role("navigation", name="Список кімнат").locator(f"a[href='/city/{room.slug}'] img")
        await page.get_by_role("button", name="Більше про кімнату").click()
        await page.get_by_role("button", name="Налаштування кімнати").click()
        settings = page.get_by_role("dialog", name="Налаштування кімнати")
        await expect(shown).to_have_count(0)
        await settings.get_by_test_id("picture").set_input_files(tmp_path / "house.png")
        await settings.get_by_role("button", name="Зберегти").click()
        await expect(shown).to_be_visible()
        await expect(listed).to_be_visible()
        await expect(shown).to_have_js_property("complete", True)
        chosen = (await state_of(room, "m.room.avatar"))["url"]
        downloaded = await room.olena.client.download(chosen)
        assert isinstance(downloaded, nio.MemoryDownloadResponse)
        assert Image.open(BytesIO(downloaded.body)).size == (200, 200)

        # A Matrix user sets another one, and then what is no picture.
        png = (tmp_path / "house.png").read_bytes()
        uploaded, _ = await room.olena.client.upload(BytesIO(png), "image/png", filesize=len(png))
        assert isinstance(uploaded, nio.UploadResponse)
        await room.sets("m.room.avatar", {"url": uploaded.content_uri})
        await expect(shown).to_have_attribute("src", f"/city/media/{uploaded.content_uri.removeprefix('mxc://')}")
        await expect(shown).to_have_js_property("naturalWidth", 300)
        await room.sets("m.room.avatar", {"url": "https://example.org/tracker.png"})
        await expect(shown).to_have_count(0)

        page = await open_page(room, browser, "en-US")
        await room.olena.send_text(room.matrix_room, "гарна світлина")
        await expect(page.get_by_role("main").get_by_role("log").get_by_text("гарна світлина")).to_be_visible()
        await room.sets("m.room.avatar", {"url": uploaded.content_uri})
        shown = page.get_by_role("main").locator("header img")
        await expect(shown).to_be_visible()
        await page.get_by_role("button", name="More about the room").click()
        await page.get_by_role("button", name="Room settings").click()
        settings = page.get_by_role("dialog", name="Room settings")
        # Somebody else's change of the room leaves the settings open.
        await expect(settings.get_by_role("button", name="Remove")).to_be_visible()
        await room.sets("m.room.name", {"name": "Бібліотека"})
        await expect(page.get_by_role("heading", name="Бібліотека", include_hidden=True)).to_be_attached()
        await settings.get_by_role("button", name="Remove").click()
        await settings.get_by_role("button", name="Save").click()
        await expect(shown).to_have_count(0)

        async def is_drawn_again() -> bool:
            return bool((await state_of(room, "m.room.avatar")).get("url") == drawn)

        await eventually(is_drawn_again)


@pytest_asyncio.fixture(loop_scope="module")
async def petro(city: RunningCity) -> AsyncIterator[MatrixUser]:
    person = await MatrixUser.arrive(city.homeserver, "petro")
    yield person
    await person.leave()
