"""The routes ``/city/push`` and ``/city/me/push``: Web Push subscriptions of citizens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from ...city.ports import NowMs
from ...city.push_subscriptions import PushSubscription
from ...city.types import CitizenId
from ...config import PushSettings
from ...errors import Conflict, InvalidInput
from ...push.endpoints import MAX_ENDPOINT_CHARS, read_endpoint
from ...push.payload_encryption import BrowserKeys
from ...storage.database import Database
from .. import schemas
from ..auth.principals import Access, Citizen, Principal
from ..routing import Body, Call, NoBody, NoContent, NoQuery, endpoint

_ENDPOINT_EXAMPLE = "https://updates.push.services.mozilla.com/wpush/v2/gAAAAABm"


class PushKeys(Body):
    """The keys of a subscription, as `PushSubscription.toJSON()` has them."""

    p256dh: str = Field(
        max_length=128,
        description="The browser's public key in base64url.",
        examples=["BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"],
    )
    auth: str = Field(
        max_length=64,
        description="The browser's authentication secret in base64url.",
        examples=["BTBZMqHH6r4Tts7J_aSIgg"],
    )


class PushEndpoint(Body):
    """The subscription of one browser."""

    endpoint: str = Field(
        min_length=1,
        max_length=MAX_ENDPOINT_CHARS,
        description="The URL of the browser at its push service.",
        examples=[_ENDPOINT_EXAMPLE],
    )


class NewPushSubscription(PushEndpoint):
    """A subscription as the browser made it, with the language of its page."""

    keys: PushKeys = Field(description="The keys of the browser.")
    language: Literal["uk", "en"] = Field("uk", description="The language of the notifications.", examples=["uk"])


@dataclass(frozen=True, slots=True)
class PushRoutes:
    database: Database
    settings: PushSettings
    public_key: str
    now_ms: NowMs

    @endpoint(
        "GET",
        "/city/push",
        access=Access.READERS,
        summary="Get the key for Web Push",
        response=schemas.PushKey,
    )
    async def get_push_key(self, _call: Call[NoBody, NoQuery]) -> schemas.PushKey:
        """Returns the key with which a browser subscribes. Where it is another one than that of an existing subscription, the
        browser must subscribe again.
        """
        is_on = self.settings.enabled
        return {"enabled": is_on, "public_key": self.public_key if is_on else None}

    @endpoint(
        "PUT",
        "/city/me/push",
        access=Access.CITIZENS_ONLY,
        body=NewPushSubscription,
        status=204,
        summary="Subscribe a browser to Web Push",
        response=NoContent,
        errors=("push_off",),
    )
    async def subscribe(self, call: Call[NewPushSubscription, NoQuery]) -> None:
        """The browser gets a push for each mention of the citizen and each message in a direct chat that is unread after two
        seconds, if the notification mode of the room is not `none` and its author is not blocked. A page sends its subscription
        at each visit. A citizen has at most 10 subscriptions: a further one replaces the oldest. Subscriptions that the push
        service does not have any more are deleted.

        The endpoint is an `https` URL of a public host. The payload of a push is encrypted for the browser (RFC 8291), and is
        JSON: `kind` (`mention` or `direct`), `language`, `room_id`, `slug`, `room_name` (`null` for a direct chat),
        `author_name`, `text` (empty for an encrypted chat), `message_id` and `url` (the path of the message in the pages).
        """
        if not self.settings.enabled:
            raise Conflict("push_off", "Web Push is off: push.enabled is false")
        body = call.body
        self._check(body)
        subscription = PushSubscription(
            _citizen(call.principal), body.endpoint, body.keys.p256dh, body.keys.auth, body.language, self.now_ms()
        )
        async with self.database.transaction() as tx:
            await tx.push_subscriptions.put(subscription)

    @endpoint(
        "DELETE",
        "/city/me/push",
        access=Access.CITIZENS_ONLY,
        body=PushEndpoint,
        status=204,
        summary="Unsubscribe a browser from Web Push",
        response=NoContent,
    )
    async def unsubscribe(self, call: Call[PushEndpoint, NoQuery]) -> None:
        """Succeeds as well if there is no such subscription; that of another citizen stays."""
        async with self.database.transaction() as tx:
            await tx.push_subscriptions.remove(_citizen(call.principal), call.body.endpoint)

    def _check(self, body: NewPushSubscription) -> None:
        """Check the endpoint and the keys. Raises InvalidInput."""
        try:
            read_endpoint(body.endpoint, self.settings.private_hosts)
        except ValueError as error:
            raise InvalidInput("invalid", f"endpoint: {error}", status=422) from None
        try:
            BrowserKeys.read(body.keys.p256dh, body.keys.auth)
        except ValueError as error:
            raise InvalidInput("invalid", f"keys.{error}", status=422) from None


def _citizen(principal: Principal) -> CitizenId:
    assert isinstance(principal, Citizen)
    return CitizenId(principal.id)
