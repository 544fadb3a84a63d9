"""Runs of ``daarion-appservice run`` that end with an error."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from daarion_appservice.config import editing as config_edit
from daarion_appservice.config import loading as config_file
from daarion_appservice.demo.child_processes import python
from daarion_appservice.errors import ExitCode
from daarion_appservice.matrix.client import registration_file
from tests.parts.ports import HOST, free_port
from tests.parts.synapse import SERVER_NAME

END_S = 60.0


@dataclass(frozen=True)
class Ended:
    code: int
    stderr: str
    """The output on standard error."""


def configured(directory: Path, values: Mapping[str, str | float]) -> Path:
    """Write a default configuration with these values, and its registration."""
    config = directory / "config.yaml"
    config_edit.generate(config)
    ports = {"api.port": free_port(), "matrix.port": free_port()}
    config_edit.set_values(config, {**ports, "homeserver.domain": SERVER_NAME, **values})
    registration_file.generate(config_file.load(config), config)
    return config


async def start(config: Path) -> Ended:
    """Run ``daarion-appservice run`` until it ends."""
    process = await asyncio.create_subprocess_exec(
        *python("daarion_appservice", "run", "-c", str(config)), cwd=config.parent, stdout=PIPE, stderr=PIPE
    )
    try:
        async with asyncio.timeout(END_S):
            _, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    stderr = err.decode()
    assert "Traceback" not in stderr, stderr
    return Ended(process.returncode, stderr)


def assert_output(ended: Ended, code: ExitCode, problem: str, advice: str) -> None:
    """Check that the output ends with the problem and the advice."""
    assert ended.code == code, ended.stderr
    what, _, what_to_do = ended.stderr.rpartition("\n-> ")
    assert problem in what.rpartition("\n2")[2], ended.stderr
    assert advice in what_to_do, ended.stderr


@asynccontextmanager
async def serving(answers: Mapping[str, Any], *, port: int | None = None) -> AsyncIterator[int]:
    """Serve fixed responses by path, and 404 for other paths; yield the port."""

    async def answer(request: web.Request) -> web.Response:
        match answers.get(request.path):
            case None:
                raise web.HTTPNotFound
            case str() as page:
                return web.Response(text=page, content_type="text/html")
            case content:
                return web.json_response(content)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    port = port or free_port()
    await web.TCPSite(runner, HOST, port).start()
    try:
        yield port
    finally:
        await runner.cleanup()
