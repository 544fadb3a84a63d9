"""The devices of people in encrypted chats: a second one, only signed ones, and sessions that are replaced."""

from __future__ import annotations

import pytest

from daarion_appservice.config import editing as config_edit
from tests.parts.agents_core import answer_to
from tests.parts.city import eventually
from tests.parts.encrypted_city import DAARWIZZ, SCRIBE, EncryptedCity

pytestmark = pytest.mark.asyncio(loop_scope="package")

AT_ONCE = 25


async def test_second_device_reads_and_asks(city: EncryptedCity) -> None:
    ivan = await city.arrive(city.city, "ivan")
    room = await ivan.open_chat(DAARWIZZ)
    await city.ask(ivan, room, "З першого")
    other = await ivan.another_device()
    try:
        await other.wait_until_encrypted(room)
        for device, question in ((ivan, "Чи видно?"), (other, "З другого")):
            await city.ask(device, room, question)
            for each in (ivan, other):
                await city.answer(each, room, question)
        # It has no key of what was said before it was there.
        assert len(other.unread_of(room)) == 2
        city.check_answers(ivan, room, ["З першого", "Чи видно?", "З другого"])
    finally:
        await other.leave()
    city.check_encrypted(room)


@pytest.mark.parametrize(
    ("count", "rotation_msgs"),
    [pytest.param(4, 3, id="3"), pytest.param(125, None, id="default", marks=pytest.mark.soak)],
)
async def test_sessions_are_replaced_after_messages(city: EncryptedCity, count: int, rotation_msgs: int | None) -> None:
    """Each side sends ``count`` messages; the default of the room is 100."""
    ira = await city.arrive(city.city, "ira")
    # Beside a second agent, no reply is requested by a message that names none.
    room = await ira.create_encrypted_room(DAARWIZZ, SCRIBE, rotation_msgs=rotation_msgs)
    first = "DAARWIZZ, почнімо"
    await city.ask(ira, room, first)
    chat, token = await city.chat(room), await city.agent_token("daarwizz")
    written, posted = ([f"{who} {number}" for number in range(count)] for who in ("людина", "агент"))
    for start in range(0, count, AT_ONCE):
        for body in written[start : start + AT_ONCE]:
            await ira.send_text(room, body)
        for body in posted[start : start + AT_ONCE]:
            await city.city.post(f"/city/rooms/{chat}/messages", {"body": body}, token=token)
    await city.ask(ira, room, "DAARWIZZ, це все?")

    async def is_complete() -> bool:
        return len(await city.bodies(room)) >= 2 * count + 4 and len(ira.texts(room, DAARWIZZ)) >= count + 2

    await eventually(is_complete)
    bodies = await city.bodies(room)
    assert [body for body in bodies if body.startswith("людина")] == written
    assert [body for body in bodies if body.startswith("агент")] == posted
    assert ira.texts(room, DAARWIZZ) == [answer_to(first), *posted, answer_to("DAARWIZZ, це все?")]
    sessions = {event["content"]["session_id"] for event in city.check_encrypted(room, texts=["людина", "агент"])}
    assert len(sessions) == 2


async def test_excluding_insecure_devices_keeps_the_agent(city: EncryptedCity) -> None:
    oksana = await city.arrive_by_js_sdk(city.city, "oksana", encryption=True)
    await oksana.isolate(only_signed=True)
    room = await oksana.create_room(direct_with=DAARWIZZ, encrypted=True)
    for question in ("Чи читаєш?", "А ще?"):
        await city.ask_by_js_sdk(oksana, room, question)
    city.check_encrypted(room, texts=["Чи читаєш?", answer_to("Чи читаєш?")])


async def test_agents_exclude_unsigned_devices_by_setting(city: EncryptedCity) -> None:
    service = city.city
    signed = await city.arrive_by_js_sdk(service, "olha", encryption=True)
    unsigned = await city.arrive(service, "inna")
    room = await signed.create_room({"invite": [unsigned.user_id]}, direct_with=None, encrypted=True)
    await unsigned.join(room)
    await unsigned.wait_until_encrypted(room)
    config_edit.set_values(service.config, {"encryption.only_signed_devices": True})
    await service.service.stop()
    await city.start()
    try:
        await signed.invite(room, DAARWIZZ)
        await unsigned.wait_for_event(
            lambda event: event.get("state_key") == DAARWIZZ and event["content"]["membership"] == "join"
        )
        await city.ask_by_js_sdk(signed, room, "DAARWIZZ, хто читає?")
        await unsigned.wait_for(lambda: unsigned.withheld(room) == ["m.unverified"])
        assert unsigned.texts(room, DAARWIZZ) == []
        # What an unsigned device asks is read nevertheless.
        await unsigned.send_text(room, "DAARWIZZ, а мене?")
        await signed.wait_for({"content": {"body": answer_to("DAARWIZZ, а мене?")}}, room_id=room)
    finally:
        config_edit.set_values(service.config, {"encryption.only_signed_devices": False})
        await service.service.stop()
        await city.start()
