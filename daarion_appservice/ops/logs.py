"""Log output to standard error: one line for each event, for people or for machines."""

from __future__ import annotations

import logging
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import structlog

from ..config import LoggingSettings
from ..matrix.client.transport import request_log

_REPEAT_S: Final = 60.0
"""A repeated warning or error is written once in this time, in seconds."""
_REMEMBERED: Final = 256


class RepeatFilter:
    """A structlog processor that drops a warning or an error that is equal to a recent one.

    While the database or the homeserver is unavailable, many tasks retry each second. The line after the pause counts the
    dropped ones (``repeated``). Lines with a traceback are never dropped.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._seen: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def __call__(self, _logger: object, method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
        if method not in {"warning", "error"} or line.get("exc_info"):
            return line
        key, now_s = _words(line), self._now_s()
        written_s, dropped = self._seen.get(key, (-_REPEAT_S, 0))
        if now_s - written_s < _REPEAT_S:
            self._seen[key] = (written_s, dropped + 1)
            raise structlog.DropEvent
        self._seen[key] = (now_s, 0)
        self._seen.move_to_end(key)
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return {**line, "repeated": dropped} if dropped else line


def _words(line: structlog.typing.EventDict) -> str:
    parts: dict[str, Any] = dict(line)
    return repr(sorted((name, str(value)) for name, value in parts.items()))


@contextmanager
def silenced() -> Iterator[None]:
    """Write no log events inside the block: the output of a command has their meaning."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)


def set_up(settings: LoggingSettings) -> None:
    """Route the logs of this service and of its libraries to standard error, as configured."""
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: list[structlog.typing.Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
        if settings.format == "json"
        else [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                sort_keys=False,
                # The default formatter prints local variables, which contain tokens.
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
    )
    structlog.configure(
        processors=[RepeatFilter(), *shared, *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)
    request_log.setLevel(level)
