"""The routes ``/city/me``: the citizen of the token, and the linked Matrix account."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import Field

from ...city.accounts import Accounts
from ...city.types import UserId
from .. import schemas
from ..auth.principals import Access, Citizen, Principal
from ..routing import Body, Call, NoBody, NoContent, NoQuery, endpoint

_ACCOUNT: Final = "/city/me/matrix"
PROOF_ERRORS: Final = (
    "nonce_invalid",
    "openid_used",
    "openid_invalid",
    "openid_foreign",
    "homeserver_unavailable",
    "openid_unavailable",
)
"""The problems of a request that proves a Matrix account."""


class OpenIdToken(Body):
    """An OpenID token as the homeserver returns it; other fields are ignored."""

    access_token: str = Field(
        min_length=1,
        max_length=2048,
        description="An OpenID token of the Matrix account (not an access token of the Client-Server API).",
        examples=["TnVFVmNNcHpkSGJB"],
    )
    matrix_server_name: str = Field(
        min_length=1,
        max_length=255,
        description="The server name of the account's homeserver.",
        examples=["daarion.space"],
    )
    nonce: str | None = Field(
        None,
        max_length=255,
        description="A nonce of `POST /city/sign-in/nonce`, required while `sign_in.require_nonce` is on.",
        examples=["1795317812.3q2-7wAAAAAAAAAAAAAAAA.Tm9uY2VTaWduYXR1cmU"],
    )


@dataclass(frozen=True, slots=True)
class MeRoutes:
    accounts: Accounts

    @endpoint(
        "GET",
        "/city/me",
        access=Access.CITIZENS_ONLY,
        summary="Get the citizen of the token",
        response=schemas.CurrentCitizen,
    )
    async def get_me(self, call: Call[NoBody, NoQuery]) -> schemas.CurrentCitizen:
        """Returns the citizen and the linked Matrix account."""
        citizen = _citizen(call.principal)
        return _view(citizen, await self.accounts.of(citizen.id))

    @endpoint(
        "PUT",
        _ACCOUNT,
        access=Access.CITIZENS_ONLY,
        body=OpenIdToken,
        summary="Link a Matrix account",
        response=schemas.CurrentCitizen,
        errors=("account_taken", *PROOF_ERRORS),
    )
    async def link_matrix_account(self, call: Call[OpenIdToken, NoQuery]) -> schemas.CurrentCitizen:
        """The account is proved by an OpenID token, which a Matrix client requests from the homeserver
        (`POST /_matrix/client/v3/user/{user_id}/openid/request_token`) and which gives no access to the account. Each token and
        each nonce is accepted once.

        A citizen has at most one account: the last one linked. An account that is linked with another citizen must be unlinked by
        that citizen first. The city shows both as one person from then on (`subject`), and Second Me has one history for the city
        and for direct chats with `@agent_second_me` on Matrix. The link is public: what the citizen wrote before names the
        account, too.
        """
        citizen = _citizen(call.principal)
        proof = call.body
        user = await self.accounts.link(citizen.id, proof.access_token, proof.matrix_server_name, proof.nonce)
        return _view(citizen, user)

    @endpoint(
        "DELETE",
        _ACCOUNT,
        access=Access.CITIZENS_ONLY,
        status=204,
        summary="Unlink the Matrix account",
        response=NoContent,
    )
    async def unlink_matrix_account(self, call: Call[NoBody, NoQuery]) -> None:
        """Succeeds as well if no account is linked. What was written in the city and the history of Second Me stay with the
        citizen.
        """
        await self.accounts.unlink(_citizen(call.principal).id)


def _citizen(principal: Principal) -> Citizen:
    assert isinstance(principal, Citizen)
    return principal


def _view(citizen: Citizen, user: UserId | None) -> schemas.CurrentCitizen:
    return {
        "user_id": citizen.id,
        "display_name": citizen.display_name,
        "matrix_user_id": user,
        "subject": user or citizen.id,
    }
