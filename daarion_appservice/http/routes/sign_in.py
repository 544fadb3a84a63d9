"""The routes ``/city/sign-in``, which issue tokens to new citizens where the city has no other sign-in service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import Field

from ...city.accounts import Accounts
from ...city.display_names import MAX_CHARS, citizen_name
from ...city.ports import NewId
from ...city.sign_in_nonces import SignInNonces
from ...city.timestamps import timestamp
from ...city.types import CitizenId
from ...config import SignInSettings
from ...errors import Forbidden
from .. import schemas
from ..auth.jwt_issue import JwtIssue
from ..auth.principals import Access
from ..routing import Body, Call, NoBody, NoQuery, endpoint
from .me import PROOF_ERRORS, OpenIdToken

_RAW_CHARS: Final = 4 * MAX_CHARS
"""The limit of a name as sent, before its whitespace is normalised."""


class NewCitizen(Body):
    """The name of a new citizen."""

    name: str = Field(
        min_length=1,
        max_length=_RAW_CHARS,
        description="The display name, 1 to 60 visible characters.",
        examples=["Оксана"],
    )


@dataclass(frozen=True, slots=True)
class SignInRoutes:
    settings: SignInSettings
    accounts: Accounts
    nonces: SignInNonces
    issue: JwtIssue
    new_id: NewId

    @endpoint(
        "POST",
        "/city/sign-in/name",
        access=Access.PUBLIC,
        body=NewCitizen,
        summary="Sign in with a name",
        response=schemas.SignInResult,
        errors=("sign_in_closed", "name_required", "name_invalid"),
    )
    async def sign_in_by_name(self, call: Call[NewCitizen, NoQuery]) -> schemas.SignInResult:
        """Each request creates a new citizen, who returns as the same one only with the same token. A name proves nothing, so
        `sign_in.name` is off by default; the demo turns it on. `limits.sign_ins` limits requests by address.
        """
        _check_enabled("name", is_enabled=self.settings.name)
        name = citizen_name(call.body.name)
        return self._result(self._new_citizen(), name)

    @endpoint(
        "POST",
        "/city/sign-in/matrix",
        access=Access.PUBLIC,
        body=OpenIdToken,
        summary="Sign in with a Matrix account",
        response=schemas.SignInResult,
        errors=("sign_in_closed", *PROOF_ERRORS),
    )
    async def sign_in_by_matrix(self, call: Call[OpenIdToken, NoQuery]) -> schemas.SignInResult:
        """The account is proved by an OpenID token, as a Matrix client gives it to a widget; only the city's own homeserver is
        asked. The token and the nonce are accepted once. The result is the citizen with whom the account is linked, or a new
        citizen, who is linked with it. Requires `sign_in.matrix`.
        """
        _check_enabled("matrix", is_enabled=self.settings.matrix)
        proof = call.body
        account = await self.accounts.sign_in(
            proof.access_token, proof.matrix_server_name, proof.nonce, self._new_citizen()
        )
        return self._result(account.citizen, account.name)

    @endpoint(
        "POST",
        "/city/sign-in/nonce",
        access=Access.PUBLIC,
        summary="Issue a nonce",
        response=schemas.SignInNonce,
    )
    async def issue_nonce(self, _call: Call[NoBody, NoQuery]) -> schemas.SignInNonce:
        """The nonce is for one sign-in with a Matrix account, or one link of it, before `expires_at`. Request it before the
        OpenID token.
        """
        nonce = self.nonces.issue()
        return {"nonce": nonce.text, "expires_at": timestamp(nonce.expires_at_ms)}

    def _new_citizen(self) -> CitizenId:
        return CitizenId(f"u_{self.new_id().lower()}")

    def _result(self, citizen: CitizenId, name: str) -> schemas.SignInResult:
        token = self.issue.token(citizen, name)
        return {
            "token": token.text,
            "user_id": citizen,
            "display_name": name,
            "expires_at": timestamp(token.expires_at * 1000),
        }


def _check_enabled(method: str, *, is_enabled: bool) -> None:
    if not is_enabled:
        raise Forbidden("sign_in_closed", f"sign_in.{method} is off in this city")
