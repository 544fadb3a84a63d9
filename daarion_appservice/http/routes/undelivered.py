"""The routes ``/api/v1/deliveries`` and ``/api/v1/dead-letters``: what admins see and retry of failures in both directions."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from ...city.ports import NowMs
from ...city.redelivery import redeliver_all
from ...city.timestamps import timestamp
from ...city.types import MessageId
from ...storage.database import Database
from ...storage.inbox import InboxRow
from ...storage.key_values import registry_changed
from ...storage.outbox import OutboxState, UndeliveredRow
from .. import schemas
from ..auth.principals import Access
from ..routing import Body, Call, NoBody, NoQuery, Query, endpoint

_MAX_IDS = 1000


class DeliveryListQuery(Query):
    failed: bool = Field(False, description="Whether to return only changes that were given up.", examples=[True])
    limit: int = Field(100, ge=1, le=1000, description="The maximum number of changes.", examples=[100])


class DeadLetterListQuery(Query):
    limit: int = Field(100, ge=1, le=1000, description="The maximum number of events.", examples=[100])


class DeliveryRetry(Body):
    """The deliveries to retry."""

    message_ids: list[str] | None = Field(
        None,
        max_length=_MAX_IDS,
        description="The ids of messages, with their edits and reactions; default: all failed deliveries.",
        examples=[["01M80JJAXFTK9TPCTY26E2R4Y5"]],
    )


class DeadLetterRetry(Body):
    """The dead letters to retry."""

    event_ids: list[str] | None = Field(
        None,
        max_length=_MAX_IDS,
        description="Matrix event ids; default: all dead letters.",
        examples=[["$uM0dS5tR7xw3"]],
    )


@dataclass(frozen=True, slots=True)
class UndeliveredRoutes:
    database: Database
    now_ms: NowMs

    @endpoint(
        "GET",
        "/api/v1/deliveries",
        access=Access.ADMINS,
        query=DeliveryListQuery,
        summary="List changes that are not on Matrix",
        response=list[schemas.UndeliveredChange],
    )
    async def list_deliveries(self, call: Call[NoBody, DeliveryListQuery]) -> list[schemas.UndeliveredChange]:
        """Returns messages, edits, deletions and reactions that wait or were given up, oldest first, without their texts."""
        async with self.database.read_only() as tx:
            rows = await tx.outbox.undelivered(is_failed=call.query.failed, limit=call.query.limit)
        return [delivery_view(row) for row in rows]

    @endpoint(
        "POST",
        "/api/v1/deliveries/retry",
        access=Access.ADMINS,
        body=DeliveryRetry,
        summary="Retry failed deliveries",
        response=schemas.RetryResult,
    )
    async def retry_deliveries(self, call: Call[DeliveryRetry, NoQuery]) -> schemas.RetryResult:
        """The leader sends them within seconds, each with its former transaction id, so that none arrives twice."""
        ids = call.body.message_ids
        async with self.database.transaction() as tx:
            count = await redeliver_all(tx, None if ids is None else [MessageId(each) for each in ids], self.now_ms())
            await registry_changed(tx.connection)
        return {"retried": count}

    @endpoint(
        "GET",
        "/api/v1/dead-letters",
        access=Access.ADMINS,
        query=DeadLetterListQuery,
        summary="List Matrix events that could not be processed",
        response=list[schemas.DeadLetter],
    )
    async def list_dead_letters(self, call: Call[NoBody, DeadLetterListQuery]) -> list[schemas.DeadLetter]:
        """Returns events whose processing failed repeatedly, oldest first, without their contents."""
        async with self.database.read_only() as tx:
            rows = await tx.inbox.dead_letters(limit=call.query.limit)
        return [dead_letter_view(row) for row in rows]

    @endpoint(
        "POST",
        "/api/v1/dead-letters/retry",
        access=Access.ADMINS,
        body=DeadLetterRetry,
        summary="Retry Matrix events that could not be processed",
        response=schemas.RetryResult,
    )
    async def retry_dead_letters(self, call: Call[DeadLetterRetry, NoQuery]) -> schemas.RetryResult:
        """The leader processes them within seconds."""
        async with self.database.transaction() as tx:
            return {"retried": await tx.inbox.retry(call.body.event_ids)}


def delivery_view(row: UndeliveredRow) -> schemas.UndeliveredChange:
    """Return a change as the API and the command line show it."""
    return {
        "message_id": row.message_id,
        "kind": row.kind,
        "room_id": row.room_id,
        "delivery": "failed" if row.state is OutboxState.FAILED else "pending",
        "attempts": row.attempts,
        "error": row.error,
    }


def dead_letter_view(row: InboxRow) -> schemas.DeadLetter:
    """Return an event as the API and the command line show it."""
    return {
        "event_id": row.event_id,
        "room_id": row.matrix_room_id,
        "received_at": timestamp(row.received_at_ms),
        "error": row.error or "",
    }
