"""The routes ``/city/sign-in``, which issue tokens to new citizens where the city has no other sign-in service."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from ...city.accounts import Accounts
from ...city.display_names import MAX_CHARS, person_name
from ...city.ports import NewId
from ...city.types import CitizenId
from ...config import SignInSettings
from ...errors import Forbidden
from .. import schemas_site as schemas
from ..auth.jwt_issue import JwtIssue
from ..auth.principals import Access
from ..routing import Body, Call, NoQuery, endpoint
from ..views import JSON, moment
from .me import OpenIdToken

_RAW_CHARS: Final = 4 * MAX_CHARS
"""The limit of a name as sent, before its whitespace is normalised."""


class NewName(Body):
    name: str = Field(
        min_length=1,
        max_length=_RAW_CHARS,
        description="What others shall see: 1 to 60 characters.",
        examples=["Оксана"],
    )


class SignInRoutes:
    def __init__(self, settings: SignInSettings, accounts: Accounts, issue: JwtIssue, new_id: NewId) -> None:
        self._settings = settings
        self._accounts = accounts
        self._issue = issue
        self._new_id = new_id

    @endpoint(
        "POST",
        "/city/sign-in/name",
        who=Access.EVERYBODY,
        body=NewName,
        summary="Become a citizen by a name alone",
        answer=schemas.SignedIn,
        errors=("sign_in_closed", "name_needed", "name_wrong"),
    )
    async def by_name(self, call: Call[NewName, NoQuery]) -> JSON:
        """Somebody new each time, whatever the name: nothing is proved by it. Where `sign_in.name` is on, as in the demo."""
        _check_open("name", is_open=self._settings.name)
        name = person_name(call.body.name)
        return self._signed_in(self._newcomer(), name)

    @endpoint(
        "POST",
        "/city/sign-in/matrix",
        who=Access.EVERYBODY,
        body=OpenIdToken,
        summary="Come in with one's Matrix account",
        answer=schemas.SignedIn,
        errors=("sign_in_closed", "openid_invalid", "openid_foreign", "homeserver_away", "openid_unavailable"),
    )
    async def by_matrix_account(self, call: Call[OpenIdToken, NoQuery]) -> JSON:
        """The account is proved by an OpenID token, as a Matrix client gives it to a widget. One is the citizen that the
        account is linked with, or a new one who is linked with it from then on. Where `sign_in.matrix` is on.
        """
        _check_open("matrix", is_open=self._settings.matrix)
        arrived = await self._accounts.arrive(call.body.access_token, call.body.matrix_server_name, self._newcomer())
        return self._signed_in(arrived.citizen, arrived.name)

    def _newcomer(self) -> CitizenId:
        return CitizenId(f"u_{self._new_id().lower()}")

    def _signed_in(self, citizen: CitizenId, name: str) -> JSON:
        token = self._issue.token(citizen, name)
        return {
            "token": token.text,
            "user_id": citizen,
            "display_name": name,
            "expires_at": moment(token.expires_at * 1000),
        }


def _check_open(way: str, *, is_open: bool) -> None:
    if not is_open:
        raise Forbidden("sign_in_closed", f"this city lets nobody in this way; see sign_in.{way}")
