"""Requests to Second Me as a citizen sends them."""

from __future__ import annotations

from daarion_appservice.agents.second_me import SecondMe
from daarion_appservice.city.types import SubjectId
from tests.parts.agents_core import (
    ScriptedCore,
)
from tests.parts.city import citizen_token
from tests.parts.in_process_city import HttpResponse, InProcessCity

OKSANA, PETRO = citizen_token("u_1", "Оксана"), citizen_token("u_2", "Петро")
IS_OKSANA = SubjectId("u_1")


async def ask(city: InProcessCity, prompt: str, *, token: str = OKSANA, **more: str) -> HttpResponse:
    return await city.call("POST", "/secondme/invoke", {"prompt": prompt} | more, token=token)


async def history(city: InProcessCity, *, token: str = OKSANA) -> list[tuple[str, str]]:
    return [(each["prompt"], each["response"]) for each in await city.get("/secondme/history", token=token)]


def code(answer: HttpResponse) -> tuple[int, str]:
    return answer.status, answer.content["code"]


async def is_requested(core: ScriptedCore, times: int) -> bool:
    return len(core.requests) == times


async def whole(second_me: SecondMe, prompt: str, who: SubjectId = IS_OKSANA) -> str:
    async with second_me.invoke(who, prompt) as answer:
        response = "".join([piece async for piece in answer])
    assert answer.interaction.response == response
    return response
