"""Web Push from the routes to a push service: who gets a push for a message, its content, and subscriptions that are gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from daarion_appservice.city.push_subscriptions import MAX_FAILURES, MAX_SUBSCRIPTIONS, PushSubscription
from daarion_appservice.city.types import CitizenId, RoomId
from daarion_appservice.clock import now_ms
from daarion_appservice.push.client import PushClient
from daarion_appservice.push.metrics import PUSHES, PushOutcome
from daarion_appservice.push.notices import PushNotices
from tests.parts.city import citizen_token, eventually
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.ports import HOST
from tests.parts.push_service import Browser, PushService, push_service
from tests.parts.running_tasks import running_tasks

OKSANA, TARAS, MARIA = citizen_token("u_1", "Оксана"), citizen_token("u_2", "Тарас"), citizen_token("u_3", "Марія")


@dataclass
class Harness:
    """A city whose pushes go to a push service of the test."""

    city: InProcessCity
    service: PushService

    async def subscribe(self, name: str, token: str, language: str = "uk") -> Browser:
        browser = self.service.browser(name)
        answer = await self.city.call("PUT", "/city/me/push", browser.subscription(language), token=token)
        assert answer.status == 204, answer
        return browser

    async def say(self, body: str, token: str = TARAS, room: str = "general", **more: Any) -> dict[str, Any]:
        answer = await self.city.call("POST", f"/city/rooms/{room}/messages", {"body": body} | more, token=token)
        assert answer.status == 201, answer
        content: dict[str, Any] = answer.content
        return content

    async def chat(self, token: str, other: str) -> str:
        answer = await self.city.call("POST", "/city/direct", {"with": other}, token=token)
        assert answer.status in {200, 201}, answer
        room: str = answer.content["id"]
        return room

    async def texts(self, browser: Browser, last: str) -> list[str]:
        """Return the texts of the pushes for a browser, when the one with the text ``last`` came."""

        async def came() -> bool:
            return last in self._texts(browser)

        await eventually(came)
        return self._texts(browser)

    def _texts(self, browser: Browser) -> list[str]:
        name = browser.endpoint.rpartition("/")[2]
        pushes = [browser.decrypt(body) for path, _, body in self.service.got if path == f"/{name}"]
        return [push["text"].rpartition(" | ")[2] for push in pushes]

    async def stored(self, citizen: str = "u_1") -> list[PushSubscription]:
        async with self.city.city.database.read_only() as tx:
            return await tx.push_subscriptions.of([CitizenId(citizen)])


@pytest.fixture
async def harness(database_url: str, tmp_path: Path) -> AsyncIterator[Harness]:
    async with push_service(tmp_path) as service, in_process_city(database_url, push={"private_hosts": [HOST]}) as city:
        parts = city.city
        client = PushClient(parts.vapid_key, now_ms, [HOST], service.tls)
        notices = PushNotices(parts.database, parts.identities, parts.unread_stream._members)
        sender = parts.push_sender
        sender._client, sender._notices, sender._delay_s, sender._retry_s = client, notices, 0.05, 0.01
        for token in (OKSANA, TARAS, MARIA):
            assert (await city.call("POST", "/city/rooms/general/join", token=token)).status == 200
        async with running_tasks(sender.run):
            yield Harness(city, service)
        await client.close()


def to(citizen: str, text: str) -> str:
    """A text that mentions a citizen."""
    return f"@citizen_{citizen}:city.localhost | {text}"


async def test_mention_is_pushed_with_text_and_link(harness: Harness) -> None:
    browser = await harness.subscribe("one", OKSANA, "en")
    said = await harness.say(to("u_1", "**ходи** сюди"))
    ((_, headers, body),) = await harness.service.pushes(1)
    assert browser.decrypt(body) == {
        "kind": "mention",
        "language": "en",
        "room_id": "city_general",
        "slug": "general",
        "room_name": "General",
        "author_name": "Тарас",
        "text": "@citizen_u_1:city.localhost | ходи сюди",
        "message_id": said["id"],
        "url": f"/city/general/{said['id']}",
    }
    assert (headers["TTL"], headers["Urgency"], headers["Content-Encoding"]) == ("86400", "high", "aes128gcm")
    assert len(headers["Topic"]) == 32
    assert headers["Authorization"].startswith("vapid t=")


async def test_every_subscription_gets_one_push(harness: Harness) -> None:
    browsers = [await harness.subscribe(name, OKSANA) for name in ("one", "two")]
    await harness.say(to("u_1", "перше"))
    await harness.say(to("u_1", "друге"))
    for browser in browsers:
        assert await harness.texts(browser, "друге") == ["перше", "друге"]


async def test_direct_chat_is_pushed_to_the_other_one(harness: Harness) -> None:
    room = await harness.chat(TARAS, "citizen:u_1")
    oksana, taras = await harness.subscribe("one", OKSANA), await harness.subscribe("two", TARAS)
    said = await harness.say("привіт", room=room)
    ((path, _, body),) = await harness.service.pushes(1)
    content = oksana.decrypt(body)
    assert (path, content["kind"], content["room_name"]) == ("/one", "direct", None)
    assert content["url"] == f"/city/{room}/{said['id']}"
    await harness.say("і тобі", OKSANA, room=room)
    assert await harness.texts(taras, "і тобі") == ["і тобі"]


async def test_other_messages_are_not_pushed(harness: Harness) -> None:
    browser = await harness.subscribe("one", OKSANA)
    await harness.say("не вам")
    await harness.say(to("u_3", "не вам, Маріє"))
    await harness.say(to("u_1", "сама собі"), OKSANA)
    await harness.say(to("u_1", "вам"))
    assert await harness.texts(browser, "вам") == ["вам"]


async def test_mention_of_all_is_pushed_to_members(harness: Harness) -> None:
    member, stranger = (
        await harness.subscribe("one", OKSANA),
        await harness.subscribe("two", citizen_token("u_9", "Чужа")),
    )
    async with harness.city.city.database.transaction() as tx:
        levels = '{"users": {"@citizen_u_2:city.localhost": 100}}'
        await tx.rooms.set_rules(RoomId("city_general"), power_levels=levels)
    await harness.say("@room | усі сюди")
    assert await harness.texts(member, "усі сюди") == ["усі сюди"]
    await harness.say(to("u_9", "ви"))
    assert await harness.texts(stranger, "ви") == ["ви"]


async def test_read_message_is_not_pushed(harness: Harness) -> None:
    harness.city.city.push_sender._delay_s = 0.5
    browser = await harness.subscribe("one", OKSANA)
    said = await harness.say(to("u_1", "прочитане"))
    read = await harness.city.call("PUT", "/city/rooms/general/read", {"message_id": said["id"]}, token=OKSANA)
    assert read.status == 204
    await harness.city.city.read_mark_writer.flush(CitizenId("u_1"))
    await harness.say(to("u_1", "нове"))
    assert await harness.texts(browser, "нове") == ["нове"]


async def test_deleted_message_is_not_pushed(harness: Harness) -> None:
    harness.city.city.push_sender._delay_s = 0.5
    browser = await harness.subscribe("one", OKSANA)
    said = await harness.say(to("u_1", "помилка"))
    path = f"/city/rooms/general/messages/{said['id']}"
    assert (await harness.city.call("DELETE", path, token=TARAS)).status in {200, 204}
    await harness.say(to("u_1", "нове"))
    assert await harness.texts(browser, "нове") == ["нове"]


async def test_mention_by_edit_is_pushed_once(harness: Harness) -> None:
    browser = await harness.subscribe("one", OKSANA)
    said = await harness.say("кому це?")
    path = f"/city/rooms/general/messages/{said['id']}"
    for text in ("вам", "саме вам"):
        assert (await harness.city.call("PATCH", path, {"body": to("u_1", text)}, token=TARAS)).status == 200
        await harness.say(to("u_1", f"після: {text}"))
        await harness.texts(browser, f"після: {text}")
    assert await harness.texts(browser, "після: саме вам") == ["вам", "після: вам", "після: саме вам"]


async def test_repeated_mention_by_edits_is_pushed_once(harness: Harness) -> None:
    browser = await harness.subscribe("one", OKSANA)
    said = await harness.say("кому це?")
    path = f"/city/rooms/general/messages/{said['id']}"
    for text in ("вам", "ще раз вам"):
        for body in (to("u_1", text), "нікому"):
            assert (await harness.city.call("PATCH", path, {"body": body}, token=TARAS)).status == 200
            await harness.say(to("u_1", f"після: {body.rpartition(' ')[2]} {text}"))
            await harness.texts(browser, f"після: {body.rpartition(' ')[2]} {text}")
    texts = await harness.texts(browser, "після: нікому ще раз вам")
    assert len([text for text in texts if not text.startswith("після")]) == 1


async def test_edit_of_reply_is_not_pushed_again(harness: Harness) -> None:
    browser = await harness.subscribe("one", OKSANA)
    asked = await harness.say("питання", OKSANA)
    said = await harness.say("відповідь", reply_to=asked["id"])
    assert await harness.texts(browser, "відповідь") == ["відповідь"]
    path = f"/city/rooms/general/messages/{said['id']}"
    assert (await harness.city.call("PATCH", path, {"body": to("u_1", "докладніше")}, token=TARAS)).status == 200
    await harness.say(to("u_1", "далі"))
    assert await harness.texts(browser, "далі") == ["відповідь", "далі"]


async def test_edit_in_direct_chat_is_not_pushed_again(harness: Harness) -> None:
    room = await harness.chat(TARAS, "citizen:u_1")
    browser = await harness.subscribe("one", OKSANA)
    said = await harness.say("привіт", room=room)
    assert await harness.texts(browser, "привіт") == ["привіт"]
    path = f"/city/rooms/{room}/messages/{said['id']}"
    assert (await harness.city.call("PATCH", path, {"body": to("u_1", "виправлене")}, token=TARAS)).status == 200
    await harness.say("далі", room=room)
    assert await harness.texts(browser, "далі") == ["привіт", "далі"]


async def test_muted_room_is_not_pushed(harness: Harness) -> None:
    browser = await harness.subscribe("one", OKSANA)
    await mute(harness, "none")
    await harness.say(to("u_1", "тихо"))
    room = await harness.chat(TARAS, "citizen:u_1")
    await harness.say("голосно", room=room)
    assert await harness.texts(browser, "голосно") == ["голосно"]
    await mute(harness, "mentions")
    await harness.say(to("u_1", "чутно"))
    assert await harness.texts(browser, "чутно") == ["голосно", "чутно"]


async def mute(harness: Harness, mode: str) -> None:
    answer = await harness.city.call("PUT", "/city/rooms/general/notifications", {"mode": mode}, token=OKSANA)
    assert answer.status in {200, 204}, answer


async def test_blocked_citizen_causes_no_push(harness: Harness) -> None:
    browser = await harness.subscribe("one", OKSANA)
    assert (await harness.city.call("PUT", "/city/me/blocks/u_2", token=OKSANA)).status == 204
    await harness.say(to("u_1", "це я"))
    await harness.say(to("u_1", "а це я"), MARIA)
    assert await harness.texts(browser, "а це я") == ["а це я"]


@pytest.mark.parametrize("status", [404, 410])
async def test_subscription_that_is_gone_is_deleted(harness: Harness, status: int) -> None:
    await harness.subscribe("one", OKSANA)
    harness.service.statuses["/one"] = [status]
    await harness.say(to("u_1", "де ви"))

    async def is_gone() -> bool:
        return not await harness.stored()

    await eventually(is_gone)


async def test_refused_pushes_delete_subscription_at_last(harness: Harness) -> None:
    await harness.subscribe("one", OKSANA)
    (subscription,) = await harness.stored()
    for failure in range(1, MAX_FAILURES + 1):
        async with harness.city.city.database.transaction() as tx:
            is_removed = await tx.push_subscriptions.record_failure(subscription.endpoint, is_gone=False)
        assert is_removed is (failure == MAX_FAILURES)
    assert await harness.stored() == []


async def test_accepted_push_ends_failures(harness: Harness) -> None:
    browser = await harness.subscribe("one", OKSANA)
    harness.service.statuses["/one"] = [403]
    await harness.say(to("u_1", "раз"))

    async def failures(count: int) -> bool:
        return [each.failures for each in await harness.stored()] == [count]

    await eventually(lambda: failures(1))
    await harness.say(to("u_1", "два"))
    await eventually(lambda: failures(0))
    assert await harness.texts(browser, "два") == ["раз", "два"]


async def test_overloaded_push_service_is_asked_again(harness: Harness) -> None:
    sent = PUSHES.labels(PushOutcome.SENT)._value.get()
    browser = await harness.subscribe("one", OKSANA)
    harness.service.statuses["/one"] = [503]
    await harness.say(to("u_1", "раз"))
    await harness.service.pushes(2)
    assert await harness.texts(browser, "раз") == ["раз", "раз"]

    async def is_counted() -> bool:
        return bool(PUSHES.labels(PushOutcome.SENT)._value.get() == sent + 1)

    await eventually(is_counted)


async def test_redirect_is_not_followed(harness: Harness) -> None:
    await harness.subscribe("one", OKSANA)
    harness.service.statuses["/one"] = [307]
    await harness.say(to("u_1", "раз"))

    async def is_refused() -> bool:
        return [each.failures for each in await harness.stored()] == [1]

    await eventually(is_refused)
    assert len(harness.service.got) == 1


async def test_eleventh_subscription_replaces_the_oldest(harness: Harness) -> None:
    for number in range(MAX_SUBSCRIPTIONS + 1):
        await harness.subscribe(f"b{number}", OKSANA)
        await asyncio.sleep(0.002)  # the times are in milliseconds
    names = {each.endpoint.rpartition("/")[2] for each in await harness.stored()}
    assert names == {f"b{number}" for number in range(1, MAX_SUBSCRIPTIONS + 1)}


async def test_browser_belongs_to_who_subscribed_last(harness: Harness) -> None:
    browser = await harness.subscribe("one", OKSANA)
    await harness.subscribe("one", TARAS, "en")
    assert await harness.stored() == []
    answer = await harness.city.call("DELETE", "/city/me/push", {"endpoint": browser.endpoint}, token=OKSANA)
    assert answer.status == 204
    assert [each.language for each in await harness.stored("u_2")] == ["en"]
    await harness.city.call("DELETE", "/city/me/push", {"endpoint": browser.endpoint}, token=TARAS)
    assert await harness.stored("u_2") == []


async def test_invalid_subscriptions_are_refused(harness: Harness) -> None:
    good = harness.service.browser("one").subscription()
    wrong: list[dict[str, Any]] = [
        good | {"endpoint": "https://10.0.0.1/x"},
        good | {"endpoint": "https://internal:8443/x"},
        good | {"endpoint": "x" * 3000},
        good | {"keys": good["keys"] | {"auth": "AA"}},
        good | {"keys": good["keys"] | {"p256dh": "BB"}},
        good | {"language": "xx"},
        {},
    ]
    for body in wrong:
        answer = await harness.city.call("PUT", "/city/me/push", body, token=OKSANA)
        assert answer.status == 422, (body, answer)
    assert (await harness.city.call("PUT", "/city/me/push", good)).status == 401
    agent = await harness.city.agent_token("scribe")
    assert (await harness.city.call("PUT", "/city/me/push", good, token=agent)).status == 403
    assert await harness.stored() == []


async def test_key_is_that_of_the_city(harness: Harness) -> None:
    found = await harness.city.get("/city/push")
    assert found == {"enabled": True, "public_key": harness.city.city.vapid_key.public_key}


async def test_city_without_push_says_so(database_url: str) -> None:
    async with in_process_city(database_url, push={"enabled": False}) as city:
        assert await city.get("/city/push") == {"enabled": False, "public_key": None}
        body = Browser("https://push.example.org/x").subscription()
        answer = await city.call("PUT", "/city/me/push", body, token=OKSANA)
        assert (answer.status, answer.content["code"]) == (409, "push_off")
