"""Counts malformed HTTP requests in place of aiohttp's log of them.

aiohttp responds with 400 itself, but logs each with a traceback and the bytes that it could not parse, which may include
tokens. Any client can send such requests, so their number is logged at most once a minute.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from ..log_throttle import LogThrottle

log = structlog.get_logger()


class BadRequestFilter(logging.Filter):
    """Drops the log records of malformed requests and counts them."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._count = 0
        self._log_throttle = LogThrottle(now_s)

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, (HttpProcessingError, web.RequestPayloadError)):
            return True
        self._count += 1
        if self._log_throttle.allows():
            log.info("bad_requests", count=self._count)
            self._count = 0
        return False


_FILTER: Final = BadRequestFilter()


def filter_bad_requests() -> None:
    """Install the filter on aiohttp's loggers. Idempotent."""
    logging.getLogger("aiohttp.server").addFilter(_FILTER)
    # It logs a warning for each client that requests a subprotocol, and the city has none.
    logging.getLogger("aiohttp.websocket").setLevel(logging.ERROR)
