"""Makes the screenshots of the README and the manifest: the city by day, a room by day, the room on a phone in the evening.

PYTHONPATH=. .venv/bin/python docs/images/make_screenshots.py [name of a file …]
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from daarion_appservice.city.types import EventId, MatrixRoomId, MatrixStatus, MessageId, RoomId, SubjectId
from daarion_appservice.demo.sample_data import AGENTS
from tests.parts.browser import start_browser
from tests.parts.city import citizen_token
from tests.parts.in_process_city import SERVICE_TOKEN, InProcessCity, in_process_city
from tests.parts.page_appearance import stable_screenshot
from tests.parts.ports import HOST

HERE = Path(__file__).parent
ICONS = HERE.parents[1] / "web" / "public" / "icons"
PEOPLE = {"u_1": "Оксана", "u_2": "Тарас", "u_3": "Марія"}
TALK = [
    ("varta", "Вітаю, місто! Сьогодні всі вузли здорові."),
    ("u_1", "Добрий вечір, місто! Хтось уже бачив, **як цвіте липа** біля ринку?"),
    ("u_2", "Так! Там зараз пахне медом на всю вулицю. І лавка є в затінку."),
    ("u_3", "Хто завтра йде на лекцію про зорі? Початок о сьомій, у великій залі на Подолі."),
    ("u_2", "Я йду. Візьму з собою термос чаю на всіх."),
    ("litopys", "За сьогодні в General: 12 повідомлень, 3 нові сусіди, одна липа."),
]
PICTURES = [
    (HERE / "city-home.png", "/", "light", 1440, 900),
    (HERE / "city-room.png", "/city/general", "light", 1440, 900),
    (HERE / "city-room-phone.png", "/city/general", "dark", 390, 844),
    (ICONS / "home-wide.webp", "/", "light", 1280, 900),
    (ICONS / "room-narrow.webp", "/city/general", "dark", 390, 844),
]
HOURS = {"light": 13, "dark": 20}
"""The hour of the pictures in each theme: the pages greet by the time of day."""
QUALITY = 84
"""The quality of WebP pictures, in percent."""


async def main() -> None:
    seeds = [agent.model_dump() for agent in AGENTS]
    with tempfile.TemporaryDirectory() as home:
        async with in_process_city(f"sqlite:///{home}/city.db", seeds, sign_in={"name": True}) as city:
            await _fill(city)
            await _take(city)


async def _fill(city: InProcessCity) -> None:  # noqa: C901 -- one line for each thing that the pictures show
    general = RoomId("city_general")
    async with city.city.database.transaction() as tx:
        for room in await tx.rooms.all():
            await tx.matrix_rooms.link(room.id, MatrixRoomId(f"!{room.slug}:city.localhost"))
            await tx.matrix_rooms.set_status(room.id, MatrixStatus.LINKED, None)
    for room_id in ("city_general", "city_welcome", "city_builders"):
        for subject in (*PEOPLE, *(f"agent:{agent.slug}" for agent in AGENTS)):
            city.city.online_members.add_membership(RoomId(room_id), SubjectId(subject))
    for agent in AGENTS:
        await city.call("POST", f"/api/v1/agents/{agent.slug}/heartbeat", {}, token=SERVICE_TOKEN)
    tokens = {sub: citizen_token(sub, name) for sub, name in PEOPLE.items()}
    for agent in AGENTS:
        tokens[agent.slug] = await city.agent_token(agent.slug)
    for sub in PEOPLE:
        await city.call("POST", f"/city/rooms/{general}/join", token=tokens[sub])
    messages: list[Any] = []
    for number, (author, body) in enumerate(TALK):
        more = {"reply_to": messages[1]["id"]} if number == 2 else {}
        posted = await city.call(
            "POST", f"/city/rooms/{general}/messages", {"body": body, **more}, token=tokens[author]
        )
        messages.append(posted.content)
    for slug, body in (("welcome", "Ласкаво просимо!"), ("builders", "Нова лавка вже стоїть.")):
        await city.call("POST", f"/city/rooms/{slug}/messages", {"body": body}, token=tokens["u_3"])
    answer = messages[2]["id"]
    for who in ("u_1", "u_3"):
        await city.call("PUT", f"/city/rooms/{general}/messages/{answer}/reactions/%E2%9D%A4", token=tokens[who])
    async with city.city.database.transaction() as tx:
        for message in messages:
            await tx.messages.mark_sent(MessageId(message["id"]), EventId(f"${message['id']}"))
        await tx.rooms.set_pinned_events(general, f'["${messages[3]["id"]}"]')
    for sub in PEOPLE:
        await city.call("POST", "/api/v1/presence/heartbeat", {"status": "online"}, token=tokens[sub])


async def _take(city: InProcessCity) -> None:
    origin = f"http://{HOST}:{city.city.settings.api.port}"
    entry = {"name": "city.session", "value": citizen_token("u_1", "Оксана")}
    stored: Any = {"cookies": [], "origins": [{"origin": origin, "localStorage": [entry]}]}
    async with start_browser() as browser:
        for file, path, theme, width, height in PICTURES:
            if sys.argv[1:] and file.name not in sys.argv[1:]:
                continue
            profile = await browser.other_profile(
                locale="uk-UA",
                timezone_id=_timezone(HOURS[theme]),
                color_scheme=theme,
                viewport={"width": width, "height": height},
                storage_state=stored,
                reduced_motion="reduce",
            )
            page = (await profile.open(origin + path)).page
            await page.get_by_role("heading", level=1).first.wait_for()
            await page.wait_for_timeout(3_000)
            taken = await stable_screenshot(page)
            if file.suffix == ".png":
                file.write_bytes(taken)
            else:
                Image.open(BytesIO(taken)).save(file, quality=QUALITY, method=6)


def _timezone(hour: int) -> str:
    """Return a time zone in which it is this hour of the day now. The names have the sign of what is added to get UTC."""
    ahead = (hour - datetime.now(UTC).hour + 12) % 24 - 12
    return f"Etc/GMT{-ahead:+d}"


asyncio.run(main())
