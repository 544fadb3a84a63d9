"""One room in Element's SDK, in matrix-nio and on the page: threads, avatars, polls, moderation."""

from __future__ import annotations

from typing import Any, Final

import nio
from playwright.async_api import expect

from tests.parts.agents_core import says
from tests.parts.at_home import (
    BOT,
    DAARWIZZ,
    GENERAL,
    IN_ONE_CITY,
    OBSERVER,
    OKSANA,
    OKSANA_GHOST,
    SCRIBE,
    TARAS,
    TARAS_GHOST,
    AtHome,
)
from tests.parts.city import eventually
from tests.parts.js_client import JsCounts

pytestmark = [*IN_ONE_CITY]

UNSTABLE: Final = "org.matrix.msc3381.poll."


def in_thread(root: str) -> dict[str, Any]:
    """A relation without the fallback for clients without threads."""
    return {"m.relates_to": {"rel_type": "m.thread", "event_id": root}}


async def test_messages_and_replies_go_both_ways(home: AtHome) -> None:
    question = await home.greta.say(home.room, "Хто тут?")
    asked = await home.socket.message(question)
    assert (asked["author"]["kind"], asked["author"]["display_name"]) == ("matrix", "Greta")
    await home.post({"body": "Я тут", "reply_to": asked["id"]})
    answer = await home.greta.wait_for({"content": {"body": "Я тут"}}, room_id=home.room)
    assert (answer["sender_name"], answer["reply_to"]) == ("Тарас", question)
    thanks = await home.greta.send_reply(home.room, answer["event_id"], "Дякую")
    message = await home.socket.message(thanks)
    assert message["reply_to"] == (await home.stored(answer["event_id"]))["id"]
    await home.alice.wait_for_event(lambda event: event["event_id"] == thanks)
    await expect(home.row("Дякую")).to_be_visible()


async def test_thread_is_complete_for_everyone_after_reload(home: AtHome) -> None:
    """A reply without the relation of the thread would be shown nowhere after a reload of Element."""
    await home.set_online("daarwizz")
    root = await home.greta.say(home.room, "Хто піде в гори?")
    first = await home.alice.send_text(home.room, "Я піду", more=in_thread(root))
    assert (await home.socket.message(first))["thread_root"] == (await home.stored(root))["id"]
    home.core.next(says("Беру мотузку"))
    question = await home.greta.send_in_thread(home.room, root, "daarwizz: а ти?")
    answer = await home.greta.wait_for({"sender": DAARWIZZ, "content": {"body": "Беру мотузку"}}, room_id=home.room)
    assert home.core.requests[-1].history == ["Greta: Хто піде в гори?", "Alice: Я піду"]
    line = home.row("Хто піде в гори?").get_by_role("button", name="3 replies")
    await line.click()
    panel = home.page.get_by_role("complementary", name="Thread", exact=True)
    await panel.get_by_role("textbox", name="Reply in the thread").fill("Візьміть і мене")
    await panel.get_by_role("textbox", name="Reply in the thread").press("Enter")
    last = await home.alice.wait_for_event(lambda event: event["content"].get("body") == "Візьміть і мене")
    assert last["content"]["m.relates_to"] == {
        "rel_type": "m.thread",
        "event_id": root,
        "is_falling_back": True,
        "m.in_reply_to": {"event_id": answer["event_id"]},
    }

    await home.reload_greta()
    await home.page.reload()

    thread = await home.greta.thread(home.room, root)
    assert thread is not None
    events = [root, first, question, answer["event_id"], last["event_id"]]
    assert [event["event_id"] for event in thread["events"]] == events
    assert (thread["length"], thread["reply_to_event"]) == (4, thread["events"][-1])
    assert not {event["event_id"] for event in await home.greta.timeline(home.room)} & set(events[1:])
    await expect(panel.get_by_role("article")).to_have_count(5)
    await panel.get_by_role("button", name="Close").click()
    await expect(line.or_(home.row("Хто піде в гори?").get_by_role("button", name="4 replies"))).to_be_visible()
    summary = (await home.stored(root))["thread"]
    last_seq = (await home.socket.message_with("Візьміть і мене"))["seq"]
    assert (summary["count"], summary["last_seq"], summary["authors"][0]["id"]) == (4, last_seq, "u_1")


async def test_receipt_in_thread_reads_that_thread_only(home: AtHome) -> None:
    root = await home.greta.say(home.room, "Що купити?")
    outside = await home.alice.send_text(home.room, "Поза гілкою")
    replies = [await home.alice.send_text(home.room, each, more=in_thread(root)) for each in ("Хліб", "Сіль")]
    await home.greta.wait_for({"event_id": replies[-1]}, room_id=home.room)

    async def unread() -> JsCounts | None:
        return (await home.greta.notifications(home.room, root_id=root))["thread"]

    async def is_unread(total: int) -> bool:
        counts = await unread()
        return counts is not None and counts["total"] == total

    await eventually(lambda: is_unread(2))
    main = (await home.greta.notifications(home.room))["main"]["total"]
    await home.greta.send_receipt(home.room, replies[-1])
    await eventually(lambda: is_unread(0))
    assert (await home.greta.notifications(home.room))["main"]["total"] == main > 0
    last = await home.socket.message(replies[-1])
    read = await home.socket.event("city.room.read", lambda each: each["message_id"] == last["id"])
    assert (read["user_id"], read["thread_root"]) == (home.greta.user_id, last["thread_root"])
    await home.city.call("PUT", f"{GENERAL}/read", {"message_id": last["id"]}, token=TARAS)

    async def is_read() -> bool:
        return await home.greta.read_up_to(home.room, TARAS_GHOST, root_id=root) == replies[-1]

    await eventually(is_read)
    assert await home.greta.read_up_to(home.room, TARAS_GHOST) != outside


async def test_rooms_and_agents_have_avatars_and_names(home: AtHome) -> None:
    await home.set_online("daarwizz")
    members = await home.greta.members(home.room)
    seen = home.alice.client.rooms[home.room]
    assert (members[DAARWIZZ]["name"], members[DAARWIZZ]["membership"]) == ("DAARWIZZ", "join")
    avatars = [members[user]["avatar_url"] for user in (DAARWIZZ, SCRIBE, BOT, OBSERVER)]
    assert [seen.users[user].avatar_url for user in (DAARWIZZ, SCRIBE, BOT, OBSERVER)] == avatars
    room_avatar = await home.greta.state(home.room, "m.room.avatar")
    assert room_avatar is not None
    space = await home.greta.join("#city:city.localhost")
    assert {"room_id": space, "name": "DAARION", "membership": "join", "space": True} in await home.greta.rooms()
    space_avatar = await home.greta.state(space, "m.room.avatar")
    assert space_avatar is not None
    assert await home.greta.state(space, "m.space.child", home.room)
    assert len({*avatars, room_avatar["url"], space_avatar["url"]} - {None, ""}) == 6
    role = (await home.greta.profile(DAARWIZZ))["space.daarion.role"]
    assert role["title"] == "Orchestrator"
    assert members[OBSERVER]["power_level"] == -1
    services = await home.greta.state(home.room, "io.element.functional_members")
    assert services == {"service_members": [BOT, OBSERVER]}
    people = home.page.get_by_role("complementary", name="Who is in General now")
    await expect(people.get_by_role("button", name="DAARWIZZ")).to_be_visible()
    await expect(people.get_by_text("bot")).to_have_count(0)


async def test_linked_person_is_one_everywhere(home: AtHome) -> None:
    alice, token = str(home.alice.client.user_id), await home.sign_in(home.alice)
    await home.post({"body": "зі сторінки"}, token=token)
    await home.alice.send_text(home.room, "з клієнта")
    seen = await home.greta.wait_for({"content": {"body": "зі сторінки"}}, room_id=home.room)
    assert (seen["sender_name"] or "").startswith("Alice"), "two members have the name"
    assert seen["content"]["com.beeper.per_message_profile"]["id"] == alice
    for body in ("зі сторінки", "з клієнта"):
        assert (await home.socket.message_with(body))["author"]["id"] == alice
        await expect(home.log.get_by_role("article", name="Alice").filter(has_text=body)).to_be_visible()
    people = home.page.get_by_role("complementary", name="Who is in General now")
    await expect(people.get_by_role("listitem").filter(has_text="Alice")).to_have_count(1)
    status, _ = await home.city.call("DELETE", "/city/me/matrix", token=token)
    assert status == 204


async def test_poll_has_the_same_result_everywhere(home: AtHome) -> None:
    posted = await home.post({"poll": {"question": "Where to?", "options": ["Podil", "Obolon"]}})
    started = await home.greta.wait_for({"type": f"{UNSTABLE}start"}, room_id=home.room)
    shown = home.page.get_by_role("group", name="Where to?")
    # The list may move between the press and the release of a mouse button.
    await shown.get_by_role("radio", name="Obolon").press("Space")
    await expect(shown.get_by_role("radio", name="Obolon")).to_be_checked()
    for option in ("1", "2"):
        await home.city.post(f"{GENERAL}/messages/{posted['id']}/votes", {"selections": [option]}, token=TARAS)
    reference = {"m.relates_to": {"rel_type": "m.reference", "event_id": started["event_id"]}}
    vote = {f"{UNSTABLE}response": {"answers": ["2"]}} | reference
    await home.greta.send(home.room, f"{UNSTABLE}response", vote)
    other = {f"{UNSTABLE}response": {"answers": ["1"]}} | reference
    await home.alice.client.room_send(home.room, f"{UNSTABLE}response", other)

    def is_counted(event: dict[str, Any]) -> bool:
        poll = event["message"]["poll"]
        return bool(poll) and [option["votes"] for option in poll["options"]] == [1, 3]

    await home.socket.event("city.room.message.updated", is_counted)
    await expect(shown.get_by_text("4 people voted")).to_be_visible()
    await home.city.post(f"{GENERAL}/messages/{posted['id']}/end", {}, token=TARAS)
    await home.greta.wait_for({"type": f"{UNSTABLE}end"}, room_id=home.room)
    found = await home.greta.poll(home.room, started["event_id"])
    assert (found["ended"], found["results"]) == (True, {"1": 1, "2": 3})
    await expect(shown.get_by_text("The poll has ended")).to_be_visible()


async def test_kinds_of_messages_keep_their_fields(home: AtHome) -> None:
    audio = {"org.matrix.msc1767.audio": {"duration": 65_000, "waveform": [0, 512, 1024]}}
    voice = {"url": "mxc://city.localhost/voice", "info": {"mimetype": "audio/ogg"}, "org.matrix.msc3245.voice": {}}
    event_id = await home.greta.send(
        home.room, "m.room.message", {"msgtype": "m.audio", "body": "Voice.ogg", **voice, **audio}
    )
    media = (await home.socket.message(event_id))["media"]
    assert (media["voice"], media["duration_ms"], media["waveform"]) == (True, 65_000, [0, 512, 1024])
    place = {"msgtype": "m.location", "body": "Тут", "geo_uri": "geo:50.4501,30.5234"}
    event_id = await home.greta.send(home.room, "m.room.message", place)
    assert (await home.socket.message(event_id))["location"]["longitude"] == 30.5234
    await expect(home.log.get_by_role("link", name="50.45010, 30.52340")).to_be_visible()
    unknown = {"m.text": [{"body": "танцює гопак"}]}
    event_id = await home.greta.send(home.room, "org.example.dance", unknown)
    assert (await home.socket.message(event_id))["original_type"] == "org.example.dance"
    await expect(home.row("танцює гопак").get_by_text("sent from another app")).to_be_visible()
    composer = home.page.get_by_role("textbox")
    await composer.fill("/me махає")
    await composer.press("Enter")
    emote = await home.greta.wait_for({"content": {"msgtype": "m.emote", "body": "махає"}}, room_id=home.room)
    assert emote["sender"] == OKSANA_GHOST
    await home.alice.wait_for_event(lambda event: event["event_id"] == emote["event_id"])


async def test_kick_with_reason_closes_the_composer(home: AtHome) -> None:
    assert await home.greta.power_level(home.room, str(home.olena.client.user_id)) == 100
    kicked = await home.olena.client.room_kick(home.room, OKSANA_GHOST, reason="галас")
    assert isinstance(kicked, nio.RoomKickResponse), kicked
    note = home.page.get_by_text("You were removed from this room. Reason: галас")
    await expect(note).to_be_visible()
    await expect(home.page.get_by_role("textbox")).to_have_count(0)
    left = await home.socket.event("city.room.leave", lambda each: each["reason"] == "галас")
    assert (left["cause"], left["by"]["display_name"]) == ("kicked", "Olena")

    async def is_seen_by_greta() -> bool:
        member = (await home.greta.members(home.room))[OKSANA_GHOST]
        return bool((member["membership"], member["reason"]) == ("leave", "галас"))

    await eventually(is_seen_by_greta)
    status, answer = await home.city.call("POST", f"{GENERAL}/messages", {"body": "можна?"}, token=OKSANA)
    assert (status, answer["code"]) == (403, "kicked")
    await home.page.get_by_role("button", name="Join").click()
    await expect(home.page.get_by_role("textbox")).to_be_visible()
