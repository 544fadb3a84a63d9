"""URL previews by the homeserver's ``GET /_matrix/client/v1/media/preview_url``, with a cache in memory.

Concurrent requests for one URL result in one request to the homeserver. The absence of a preview is cached as well.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ...city.url_previews import UrlPreview, read_preview
from ...concurrency import ConcurrencyLimit, LimitReached
from ...errors import HomeserverRateLimited, HomeserverRefused, HomeserverTimeout, HomeserverUnavailable, Unavailable
from .homeserver import Homeserver
from .monitor import HomeserverMonitor

_TIMEOUT_S: Final = 10.0
"""How long the homeserver may take to request one page; longer means no preview."""
_WAIT_S: Final = 15.0
"""How long a request waits for a slot, or for a concurrent request of the same URL."""
_CONCURRENT: Final = 16
_CONCURRENT_OF_ONE: Final = 4
"""One citizen or agent may have a quarter of the concurrent requests: slow pages of one do not block the others."""
_FOUND_MS: Final = 3_600_000
_ABSENT_MS: Final = 600_000
_CACHE_SIZE: Final = 2000
"""URLs. An entry has at most 2,000 characters of URL and 700 of text: 10 MB in total."""
_RETRY_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class _Entry:
    preview: UrlPreview | None
    expires_ms: int


class UrlPreviews:
    """Finds the previews of pages.

    Args:
        homeserver: requests the pages, as the bot.
        monitor: knows whether the homeserver responds.
        now_ms: a steady clock, in milliseconds.
        timeout_s: how long the homeserver may take for one page, in seconds.
        cache_size: the maximum number of cached URLs.
    """

    def __init__(
        self,
        homeserver: Homeserver,
        monitor: HomeserverMonitor,
        now_ms: Callable[[], int],
        *,
        timeout_s: float = _TIMEOUT_S,
        cache_size: int = _CACHE_SIZE,
    ) -> None:
        self._homeserver = homeserver
        self._monitor = monitor
        self._now_ms = now_ms
        self._timeout_s = timeout_s
        self._cache_size = cache_size
        self._cache: OrderedDict[str, _Entry] = OrderedDict()
        """The entries by URL, the most recently used last."""
        self._of_one = ConcurrencyLimit(total=1000, per_client=_CONCURRENT_OF_ONE, timeout_s=_WAIT_S)
        self._of_url = ConcurrencyLimit(total=_CONCURRENT, per_client=1, timeout_s=_WAIT_S)

    async def find(self, url: str, reader: str) -> UrlPreview | None:
        """Return the preview of a page, or None if it has none.

        Args:
            url: a URL of ``city.url_previews.public_url``.
            reader: the key of the citizen or agent who wants the preview.

        Raises:
            HomeserverUnavailable: the homeserver does not respond.
            HomeserverRateLimited: the homeserver limits the rate of the service's requests.
            Unavailable: no slot became free in time.
        """
        if (entry := self._cached(url)) is not None:
            return entry.preview
        try:
            async with self._of_one.acquired(reader), self._of_url.acquired(url):
                # A concurrent request may have found it meanwhile.
                entry = self._cached(url) or await self._request(url)
        except LimitReached as error:
            raise Unavailable(
                "media_busy", "too many concurrent requests for previews; try again", retry_after_s=_RETRY_S
            ) from error
        return entry.preview

    def _cached(self, url: str) -> _Entry | None:
        entry = self._cache.get(url)
        if entry is None:
            return None
        if entry.expires_ms <= self._now_ms():
            del self._cache[url]
            return None
        self._cache.move_to_end(url)
        return entry

    async def _request(self, url: str) -> _Entry:
        """Request a preview from the homeserver, and cache it or its absence."""
        if not self._monitor.is_up:
            raise HomeserverUnavailable(self._monitor.reason or "not checked yet")
        preview = None
        try:
            async with asyncio.timeout(self._timeout_s):
                preview = read_preview(await self._homeserver.url_preview(url))
        except HomeserverRateLimited:
            raise
        except (HomeserverRefused, HomeserverTimeout, TimeoutError):
            # Synapse refuses a page that it cannot or may not request: 403 and 502 with an error code.
            pass
        entry = _Entry(preview, self._now_ms() + (_ABSENT_MS if preview is None else _FOUND_MS))
        self._cache[url] = entry
        if len(self._cache) > self._cache_size:
            self._cache.popitem(last=False)
        return entry
