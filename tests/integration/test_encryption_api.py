"""``GET /api/v1/encryption`` and ``POST /api/v1/agents/{agent_id}/encryption/reset``."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from daarion_appservice.config.pickle_key import new_pickle_key
from tests.parts.city import ADMIN_TOKEN
from tests.parts.encryption_rows import SCRIBE, account_row, olm_row, undecrypted_row
from tests.parts.in_process_city import InProcessCity, in_process_city

STATUS = "/api/v1/encryption"
AGENTS = [{"slug": "guide", "display_name": "Guide"}, {"slug": "scribe", "display_name": "Scribe"}]


def reset(slug: str) -> str:
    return f"/api/v1/agents/{slug}/encryption/reset"


@pytest.fixture
async def encrypting_city(database_url: str) -> AsyncIterator[InProcessCity]:
    """A city with a pickle key, whose agent scribe has keys on the homeserver."""
    async with in_process_city(database_url, AGENTS, encryption={"pickle_key": new_pickle_key()}) as city:
        async with city.city.database.transaction() as tx:
            await tx.encryption_accounts.save(account_row(SCRIBE, "E2E_1"))
            await tx.encryption_accounts.set_uploaded(SCRIBE, is_uploaded=True)
            await tx.olm_sessions.save([olm_row()])
            await tx.undecrypted.add(undecrypted_row(received_at_ms=1_800_000_000_000))
        yield city


async def test_status_has_devices_and_totals(encrypting_city: InProcessCity) -> None:
    answer = await encrypting_city.call("GET", STATUS, token=ADMIN_TOKEN)
    assert answer.status == 200
    guide, scribe = answer.content.pop("agents")
    assert answer.content == {
        "enabled": True,
        "inbound_sessions": 0,
        "waiting_events": 1,
        "oldest_waiting_at": "2027-01-15T08:00:00.000Z",
    }
    assert (guide["agent_id"], guide["device_id"], guide["uploaded"], guide["olm_sessions"]) == (
        "guide",
        None,
        False,
        0,
    )
    assert (scribe["device_id"], scribe["uploaded"], scribe["olm_sessions"]) == ("E2E_1", True, 1)
    assert scribe["matrix_user_id"] == SCRIBE


async def test_reset_is_requested_once_and_shown(encrypting_city: InProcessCity) -> None:
    for _ in range(2):
        assert (await encrypting_city.call("POST", reset("scribe"), token=ADMIN_TOKEN)).status == 204
    _, scribe = (await encrypting_city.call("GET", STATUS, token=ADMIN_TOKEN)).content["agents"]
    assert scribe["reset_requested"] is True


@pytest.mark.parametrize(
    ("slug", "status", "code"),
    [("guide", 409, "no_device"), ("nobody", 404, "no_such_agent"), ("%F0%9F%98%80", 404, "no_such_agent")],
)
async def test_reset_without_device_is_refused(
    encrypting_city: InProcessCity, slug: str, status: int, code: str
) -> None:
    answer = await encrypting_city.call("POST", reset(slug), token=ADMIN_TOKEN)
    assert (answer.status, answer.content["code"]) == (status, code)


async def test_reset_while_encryption_is_off_is_refused(sqlite_url: str) -> None:
    async with in_process_city(sqlite_url, AGENTS) as city:
        answer = await city.call("POST", reset("scribe"), token=ADMIN_TOKEN)
        assert (answer.status, answer.content["code"]) == (409, "encryption_off")
        assert "pickle_key is empty" in answer.content["detail"]
        assert (await city.call("GET", STATUS, token=ADMIN_TOKEN)).content["enabled"] is False
