"""The Node process of matrix-js-sdk: errors of requests, and its end. No homeserver."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psutil
import pytest

from tests.parts.js_process import JsError, JsProcess


@pytest.fixture
async def node() -> AsyncIterator[JsProcess]:
    node = await JsProcess.start()
    yield node
    await node.end()


async def test_refused_request_raises_error_with_url(node: JsProcess) -> None:
    with pytest.raises(JsError, match=r"no method dance\n.*main\.js") as error:
        await node.request("dance")
    assert (error.value.errcode, error.value.status) == (None, None)


async def test_requests_fail_when_node_ends(node: JsProcess) -> None:
    # It fails to connect, and the SDK tries again until the process is killed.
    login = {"base_url": "http://127.0.0.1:9", "user_id": "@a:b", "access_token": "t"}
    await node.request("login", **login)
    start = asyncio.create_task(node.request("start", timeout_ms=60_000))
    await asyncio.sleep(0)
    node.process.kill()
    with pytest.raises(JsError, match="Node ended"):
        await start
    await node.process.wait()
    with pytest.raises(JsError, match="Node ended with -9"):
        await node.request("rooms")


async def test_no_process_is_left() -> None:
    node = await JsProcess.start()
    await node.end()
    assert not psutil.pid_exists(node.process.pid)
    assert node.process.returncode == 0
