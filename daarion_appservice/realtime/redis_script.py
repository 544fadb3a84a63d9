"""Lua scripts that Redis runs atomically."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from importlib import resources
from typing import Any

from redis.exceptions import NoScriptError

from .redis_client import Client, response_of

AddCommands = Callable[[Any], None]
"""Adds commands to a pipeline."""


class RedisScript:
    """A script that concatenates the files ``lua/<part>.lua``."""

    def __init__(self, *parts: str) -> None:
        folder = resources.files(__package__) / "lua"
        self._text = "".join((folder / f"{part}.lua").read_text("utf-8") for part in parts)
        self._sha = hashlib.sha1(self._text.encode(), usedforsecurity=False).hexdigest()

    async def run(
        self,
        client: Client,
        keys: Sequence[str],
        arguments: Sequence[str | bytes],
        *,
        pipelined: AddCommands | None = None,
    ) -> Any:
        """Run the script and return its result.

        Args:
            pipelined: adds commands that are sent in the same request.

        Raises:
            REDIS_ERRORS: Redis is unavailable or refuses the script.
        """
        try:
            return await self._run(client, "EVALSHA", self._sha, keys, arguments, pipelined)
        except NoScriptError:
            return await self._run(client, "EVAL", self._text, keys, arguments, pipelined)

    async def _run(
        self,
        client: Any,
        command: str,
        script: str,
        keys: Sequence[str],
        arguments: Sequence[str | bytes],
        pipelined: AddCommands | None,
    ) -> Any:
        request = (command, script, len(keys), *keys, *arguments)
        if pipelined is None:
            return await response_of(client.execute_command(*request))
        pipeline = client.pipeline(transaction=False)
        # A cluster's pipeline has no method for scripts, but it can run them: their keys are in one slot.
        pipeline.execute_command(*request)
        pipelined(pipeline)
        return (await response_of(pipeline.execute()))[0]
