"""The first connection to Redis: a refusal ends the start, an outage does not; the log has the cause."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from daarion_appservice.errors import ExitCode, StartError
from daarion_appservice.realtime.redis_client import check, connect
from tests.parts.certificates import self_signed
from tests.parts.ports import HOST, free_port
from tests.parts.raw_listeners import closing_tls_listener
from tests.parts.redis import RedisServer


async def checked(url: str, *, cluster: bool = False) -> str:
    """Return the advice of the warning that Redis is not there; empty when it is."""
    client = connect(url, cluster=cluster)
    try:
        with capture_logs() as logs:
            await check(client, url)
    finally:
        await client.aclose()
    assert [line["event"] for line in logs] in ([], ["redis_not_found"])
    return logs[0]["help"] if logs else ""


@pytest.mark.parametrize("cluster", [False, True])
async def test_absent_redis_is_waited_for(cluster: bool) -> None:
    assert "trying again" in await checked(f"redis://{HOST}:{free_port()}", cluster=cluster)


async def test_cluster_with_wrong_password_is_refused(tmp_path: Path) -> None:
    redis = RedisServer(tmp_path / "redis", password="geheim")
    redis.start()
    try:
        with pytest.raises(StartError, match="Redis rejects the login") as raised:
            await checked(redis.url, cluster=True)
    finally:
        redis.kill()
    assert raised.value.exit_code == ExitCode.REDIS


async def test_server_without_cluster_is_named(tmp_path: Path) -> None:
    redis = RedisServer(tmp_path / "redis")
    redis.start()
    try:
        with pytest.raises(StartError, match="this Redis is not a cluster"):
            await checked(redis.url, cluster=True)
        assert await checked(redis.url) == ""
    finally:
        redis.kill()


@pytest.mark.parametrize("cluster", [False, True])
async def test_redis_url_without_tls_advises_rediss(tmp_path: Path, cluster: bool) -> None:
    async with closing_tls_listener(self_signed(tmp_path)) as port:
        assert "must begin with rediss://" in await checked(f"redis://{HOST}:{port}", cluster=cluster)


async def test_untrusted_certificate_of_redis_advises_ca(tmp_path: Path) -> None:
    async with closing_tls_listener(self_signed(tmp_path)) as port:
        assert "ssl_ca_certs" in await checked(f"rediss://{HOST}:{port}")


async def test_rediss_for_port_without_tls_advises_redis(tmp_path: Path) -> None:
    redis = RedisServer(tmp_path / "redis")
    redis.start()
    try:
        assert "must begin with redis://" in await checked(redis.url.replace("redis:", "rediss:"))
    finally:
        redis.kill()


def test_database_number_with_cluster_is_refused() -> None:
    with pytest.raises(StartError, match=r"redis\.url cannot be used"):
        connect(f"redis://{HOST}/1", cluster=True)
