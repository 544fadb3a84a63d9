"""The harnesses of PostgreSQL, Redis and Synapse work."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import aiohttp
import nio
import pytest
from sqlalchemy import inspect
from sqlalchemy.ext.asyncio import create_async_engine

from daarion_appservice.demo.child_processes import Child, python
from daarion_appservice.errors import ExitCode, HomeserverRefused, StartError
from tests.parts.database_pool import DatabasePool
from tests.parts.ports import free_port
from tests.parts.postgres import Postgres
from tests.parts.synapse import BootSynapse, boot


async def test_user_logs_in_to_test_homeserver(synapse: BootSynapse) -> None:
    homeserver = await synapse()
    account = await homeserver.register("alice", "secret", display_name="Alice")

    client = nio.AsyncClient(homeserver.url, account.user_id)
    try:
        answer = await client.login("secret")
        profile = await client.get_displayname(account.user_id)
    finally:
        await client.close()

    assert isinstance(answer, nio.LoginResponse)
    assert answer.user_id == "@alice:city.localhost"
    assert isinstance(profile, nio.ProfileGetDisplayNameResponse)
    assert profile.displayname == "Alice"


async def test_restarted_homeserver_keeps_users(synapse: BootSynapse) -> None:
    homeserver = await synapse()
    account = await homeserver.register("alice", "secret")

    homeserver.kill()
    await homeserver.restart()

    headers = {"Authorization": f"Bearer {account.access_token}"}
    url = f"{homeserver.url}/_matrix/client/v3/account/whoami"
    async with aiohttp.request("GET", url, headers=headers) as response:
        assert (await response.json())["user_id"] == "@alice:city.localhost"
    with pytest.raises(HomeserverRefused, match="M_USER_IN_USE"):
        await homeserver.register("alice", "secret")


async def test_failed_homeserver_start_shows_reason(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="no-such-registration"):
        await boot(tmp_path, registration=tmp_path / "no-such-registration.yaml")


async def test_missing_synapse_shows_install_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(StartError) as raised:
        await boot(tmp_path, port=free_port())
    assert "pip install 'daarion-appservice[demo]'" in raised.value.help
    assert not (tmp_path / "homeserver.yaml").exists()


@pytest.mark.parametrize("is_migrated", [False], ids=["empty"])
async def test_a_database_is_fresh_and_serves(database_url: str) -> None:
    driver = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
    scheme, address = database_url.split("://")
    engine = create_async_engine(f"{driver[scheme]}://{address}")
    async with engine.connect() as connection:
        assert await connection.run_sync(lambda sync: inspect(sync).get_table_names()) == []
    await engine.dispose()


def test_databases_do_not_see_each_other(postgres: Postgres) -> None:
    one, other = postgres.create_database(), postgres.create_database()
    postgres.execute("CREATE TABLE citizens (id text)", one)

    assert postgres.execute("SELECT to_regclass('citizens')", one) == "citizens"
    assert postgres.execute("SELECT to_regclass('citizens')", other) == ""

    postgres.drop_database(one)
    postgres.drop_database(other)


def test_reused_database_has_no_rows(postgres: Postgres, postgres_template: str) -> None:
    pool = DatabasePool(postgres, postgres_template)
    name = pool.take()
    postgres.execute("INSERT INTO sign_in_uses VALUES ('digest', 1)", name)
    numbers = "SELECT nextval('inbox_id_seq')"
    first = postgres.execute(numbers, name)

    pool.put_back(name)

    assert pool.take() == name
    assert postgres.execute("SELECT count(*) FROM sign_in_uses", name) == "0"
    assert postgres.execute(numbers, name) == first
    pool.close()
    postgres.drop_database(name)


@pytest.mark.parametrize("change", ["CREATE INDEX ON rooms (name)", "DROP TABLE outbox", "ANALYZE rooms"])
def test_database_with_changed_schema_is_not_reused(postgres: Postgres, postgres_template: str, change: str) -> None:
    pool = DatabasePool(postgres, postgres_template)
    name = pool.take()
    postgres.execute(change, name)

    pool.put_back(name)

    other = pool.take()
    assert other != name
    pool.close()
    postgres.drop_database(other)


@pytest.mark.parametrize(("arguments", "exit_code"), [(["--version"], ExitCode.OK), (["nonsense"], ExitCode.USAGE)])
async def test_forked_service_returns_its_exit_code(tmp_path: Path, arguments: list[str], exit_code: int) -> None:
    child = Child("Service", python("daarion_appservice", *arguments), tmp_path / "service.log")

    child.start()

    assert await child.ended() == exit_code
    assert "daarion-appservice" in "\n".join(child.last_lines())


async def test_forked_synapse_is_killed_with_its_session(synapse: BootSynapse) -> None:
    child = (await synapse()).child
    assert child.pid is not None
    assert os.getsid(child.pid) == child.pid

    child.kill()

    assert child.exit_code == -signal.SIGKILL
