"""What is no HTTP. aiohttp answers it 400 by itself, but logs each with a traceback and with what it could not read, tokens among
it. Anybody can send such things: here they are counted, and told of once a minute at most."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

_TELL_EVERY_S: Final = 60.0

log = structlog.get_logger()


class BadRequestFilter(logging.Filter):
    """Counts what it keeps out of a log."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now_s = now_s
        self._count = 0
        self._tell_again_s = now_s()

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, (HttpProcessingError, web.RequestPayloadError)):
            return True
        self._count += 1
        if self._now_s() >= self._tell_again_s:
            log.info("bad_requests", count=self._count)
            self._count, self._tell_again_s = 0, self._now_s() + _TELL_EVERY_S
        return False


_OF_ALL_LISTENERS: Final = BadRequestFilter()


def keep_out_of_the_log() -> None:
    """May be called again."""
    logging.getLogger("aiohttp.server").addFilter(_OF_ALL_LISTENERS)
    # It warns of each client that wants a subprotocol, of which there are none here.
    logging.getLogger("aiohttp.websocket").setLevel(logging.ERROR)
