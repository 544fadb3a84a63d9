"""The endpoints that the homeserver calls: transactions, queries and pings (application service API, "Pushing events").

    PUT /_matrix/app/v1/transactions/{id}
      token ─► size ─► JSON ─► shape ─► events and transaction id in one commit ─► 200 ─► wake ``InboundWorker``

A transaction is only stored here; ``InboundWorker`` processes its events later. The events are committed before the
response 200 is sent. The homeserver repeats a transaction, and sends no other, until it gets a 200. So only an error
that a repetition may cure (a truncated body) gets an error response. An invalid event is stored as a dead letter,
because an error response would block all later transactions forever.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

import structlog
from aiohttp import web

from ...city.ports import NowMs
from ...city.text_sanitizing import storable
from ...compressed_body import read_unpacked
from ...realtime.message_steps import STORED_EVENTS
from ...storage.database import Database
from ...storage.inbox import ReceivedEvent
from ...storage.inbox_writer import ReceivedTransaction
from ..client.inbox_events import inbox_event
from ..client.json_parsing import loads
from .authentication import HomeserverToken, matrix_error
from .metrics import TransactionMeasurement, TransactionResult, measured_transaction

MAX_BODY_BYTES: Final = 32 * 1024 * 1024
"""Enough for 100 events of 64 KiB, 100 EDUs and to-device messages. Synapse would repeat a larger body forever."""

_BODY_TIMEOUT_S: Final = 60.0
"""Timeout of reading a body, in seconds: Synapse aborts a transaction after 60 seconds, and sends it again."""

_EPHEMERAL_KEYS: Final = ("ephemeral", "de.sorunome.msc2409.ephemeral")
"""The stable key and that of MSC2409; a registration that enables both gets the same EDUs under both."""

_MAX_ID_CHARS: Final = 255

log = structlog.get_logger()


class EntityQueries(Protocol):
    """Answers the homeserver's queries for user ids and aliases of the application service's namespaces."""

    async def user_exists(self, user_id: str) -> bool: ...
    async def alias_exists(self, alias: str) -> bool: ...


class TransactionReceiver:
    """The handlers of the application service API's routes.

    ``on_stored`` is called after events were committed; ``on_ephemeral`` gets the EDUs, which are not stored.
    """

    def __init__(
        self,
        database: Database,
        queries: EntityQueries,
        *,
        hs_token: str,
        now_ms: NowMs,
        on_stored: Callable[[], None],
        on_ephemeral: Callable[[list[Any]], Awaitable[object]],
    ) -> None:
        self._database = database
        self._queries = queries
        self._check_token = HomeserverToken(hs_token).check
        self._now_ms = now_ms
        self._on_stored = on_stored
        self._on_ephemeral = on_ephemeral

    def routes(self) -> list[web.RouteDef]:
        prefix = "/_matrix/app/v1"
        return [
            web.put(prefix + "/transactions/{txn_id}", self._transaction),
            web.post(prefix + "/ping", self._ping),
            web.get(prefix + "/users/{user_id}", self._user),
            web.get(prefix + "/rooms/{alias}", self._alias),
        ]

    async def _transaction(self, request: web.Request) -> web.Response:
        with measured_transaction() as measurement:
            await self._receive(request, measurement)
        return web.json_response({})

    async def _receive(self, request: web.Request, measurement: TransactionMeasurement) -> None:
        self._check_token(request)
        txn_id = storable(request.match_info["txn_id"])[:_MAX_ID_CHARS]
        body = await read_unpacked(request, MAX_BODY_BYTES, within_s=_BODY_TIMEOUT_S)
        transaction = _json_object(body)
        events = transaction.get("events", [])
        if not isinstance(events, list):
            raise matrix_error(400, "M_BAD_JSON", "`events` must be a list")
        ephemeral = _ephemeral(transaction)
        measurement.record_content(size_bytes=len(body), events=len(events), ephemeral=len(ephemeral))
        is_new = await self._store(txn_id, body, [inbox_event(event) for event in events], measurement)
        if ephemeral:
            await self._on_ephemeral(ephemeral)
        measurement.result = TransactionResult.STORED if is_new else TransactionResult.REPEATED

    async def _store(
        self, txn_id: str, body: bytes, events: list[ReceivedEvent], measurement: TransactionMeasurement
    ) -> bool:
        """Store the events; return False if the transaction was stored before."""
        body_sha256 = hashlib.sha256(body).hexdigest()
        if not await self._database.inbox_writer.store(
            ReceivedTransaction(txn_id, body_sha256, events, self._now_ms())
        ):
            return False
        measurement.record_stored()
        for event in events:
            STORED_EVENTS.begin(event.event_id)
            if event.error:
                log.warning("event_unreadable", event_id=event.event_id, error=event.error)
        self._on_stored()
        return True

    async def _ping(self, request: web.Request) -> web.Response:
        self._check_token(request)
        return web.json_response({})

    async def _user(self, request: web.Request) -> web.Response:
        self._check_token(request)
        if await self._queries.user_exists(request.match_info["user_id"]):
            return web.json_response({})
        raise matrix_error(404, "M_NOT_FOUND", "There is no such user in the city")

    async def _alias(self, request: web.Request) -> web.Response:
        self._check_token(request)
        if await self._queries.alias_exists(request.match_info["alias"]):
            return web.json_response({})
        raise matrix_error(404, "M_NOT_FOUND", "There is no such room in the city")


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        parsed = loads(body)
    except (ValueError, RecursionError) as error:
        log.warning(
            "transaction_unreadable",
            bytes=len(body),
            help="Synapse repeats it until it is accepted, and sends nothing else meanwhile; does a proxy cut it off?",
        )
        raise matrix_error(400, "M_NOT_JSON", "The body is not JSON") from error
    if not isinstance(parsed, dict):
        raise matrix_error(400, "M_BAD_JSON", "The body must be an object")
    return parsed


def _ephemeral(transaction: dict[str, Any]) -> list[Any]:
    for key in _EPHEMERAL_KEYS:
        if isinstance(found := transaction.get(key), list):
            return found
    return []
