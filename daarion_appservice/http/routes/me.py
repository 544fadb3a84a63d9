"""The routes ``/city/me``: the citizen of the token, and the linked Matrix account."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from ...city.accounts import Accounts
from ...city.types import UserId
from .. import schemas
from ..auth.principals import Access, Citizen, Principal
from ..routing import Body, Call, NoBody, NoContent, NoQuery, endpoint
from ..views import JSON

_ACCOUNT: Final = "/city/me/matrix"


class OpenIdToken(Body):
    """As the homeserver gives it out; what else it holds does not matter."""

    access_token: str = Field(
        min_length=1,
        max_length=2048,
        description="An OpenID token of one's Matrix account; never what one signs in with.",
        examples=["TnVFVmNNcHpkSGJB"],
    )
    matrix_server_name: str = Field(
        min_length=1,
        max_length=255,
        description="Whose account it is: the homeserver's name.",
        examples=["daarion.space"],
    )


class MeRoutes:
    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    @endpoint("GET", "/city/me", who=Access.CITIZENS_ALONE, summary="Who one is", answer=schemas.Me)
    async def me(self, call: Call[NoBody, NoQuery]) -> JSON:
        """Whose token it is, and the Matrix account that is linked with it."""
        citizen = _citizen(call.principal)
        return _view(citizen, await self._accounts.of(citizen.id))

    @endpoint(
        "PUT",
        _ACCOUNT,
        who=Access.CITIZENS_ALONE,
        body=OpenIdToken,
        summary="Link one's Matrix account",
        answer=schemas.Me,
        errors=("account_taken", "openid_invalid", "openid_foreign", "homeserver_away", "openid_unavailable"),
    )
    async def link_account(self, call: Call[OpenIdToken, NoQuery]) -> JSON:
        """The account is proved by an OpenID token, which one's Matrix client gets from the homeserver
        (``POST /_matrix/client/v3/user/{user_id}/openid/request_token``). A citizen has one account, the one that was
        linked last; an account of another citizen's is not taken from them. Second Me then remembers the same in the city and in
        a direct chat on Matrix.
        """
        citizen = _citizen(call.principal)
        user = await self._accounts.link(citizen.id, call.body.access_token, call.body.matrix_server_name)
        return _view(citizen, user)

    @endpoint(
        "DELETE",
        _ACCOUNT,
        who=Access.CITIZENS_ALONE,
        status=204,
        summary="Unlink one's Matrix account",
        answer=NoContent,
    )
    async def unlink_account(self, call: Call[NoBody, NoQuery]) -> None:
        """Done as well when there is none. What Second Me remembers stays the citizen's."""
        await self._accounts.unlink(_citizen(call.principal).id)


def _citizen(principal: Principal) -> Citizen:
    assert isinstance(principal, Citizen)
    return principal


def _view(citizen: Citizen, user: UserId | None) -> JSON:
    return {"user_id": citizen.id, "display_name": citizen.display_name, "matrix_user_id": user}
