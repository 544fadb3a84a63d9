"""Signal handlers of the demo: the first signal ends it cleanly, the second at once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def on_signals(first: Callable[[], object], again: Callable[[], object]) -> Iterator[None]:
    """Call ``first`` at the first SIGINT (Ctrl-C), SIGTERM or SIGHUP (terminal closed), and ``again`` at later ones."""
    loop = asyncio.get_running_loop()
    signals = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
        signals.append(signal.SIGHUP)
    calls = iter([first])

    def act() -> None:
        next(calls, again)()

    for number in signals:
        loop.add_signal_handler(number, act)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
