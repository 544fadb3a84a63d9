"""Polls of the city in the poll model of matrix-js-sdk, which Element uses."""

from __future__ import annotations

from pathlib import Path

from tests.parts.city import citizen_token, eventually, shared_city
from tests.parts.js_client import arriving_by_js_sdk

OKSANA, TARAS = citizen_token("u_1", "Оксана"), citizen_token("u_2", "Тарас")
MESSAGES = "/city/rooms/general/messages"
UNSTABLE = "org.matrix.msc3381.poll."


async def test_js_sdk_counts_the_same_votes(tmp_path: Path) -> None:
    async with shared_city(tmp_path) as city, arriving_by_js_sdk() as arrive:
        alice = await arrive(city, "alice")
        general = await alice.join("#city_general:city.localhost")
        poll = {"question": "Куди?", "options": ["Поділ", "Оболонь"]}
        posted = await city.post(MESSAGES, {"poll": poll}, token=OKSANA)
        message = f"{MESSAGES}/{posted['id']}"
        started = await alice.wait_for({"type": f"{UNSTABLE}start"}, room_id=general)
        for token, option in ((OKSANA, "1"), (TARAS, "1"), (TARAS, "2")):
            await city.post(f"{message}/votes", {"selections": [option]}, token=token)
        reference = {"m.relates_to": {"rel_type": "m.reference", "event_id": started["event_id"]}}
        await alice.send(general, f"{UNSTABLE}response", {f"{UNSTABLE}response": {"answers": ["2"]}} | reference)

        async def votes() -> list[int | None]:
            found = next(each for each in await city.get(MESSAGES) if each["id"] == posted["id"])
            return [option["votes"] for option in found["poll"]["options"]]

        async def is_counted() -> bool:
            return await votes() == [1, 2]

        await eventually(is_counted)
        await city.post(f"{message}/end", {}, token=OKSANA)
        await alice.wait_for({"type": f"{UNSTABLE}end"}, room_id=general)
        found = await alice.poll(general, started["event_id"])
        assert (found["ended"], found["results"]) == (True, {"1": 1, "2": 2})
        assert await votes() == [1, 2]
