"""The routes ``/city/me``: the citizen of the token, the own profile, and the linked Matrix account."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import Field

from ...city.accounts import Accounts
from ...city.identity import Identities
from ...city.linked_accounts import OwnProfile
from ...city.own_profiles import MAX_STATUS_CHARS, UNCHANGED, OwnProfiles, ProfileChange
from ...city.types import Author, AuthorKind, UserId
from .. import schemas
from ..auth.principals import Access, Citizen, Principal
from ..media_urls import MediaUrls
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


class OwnProfileChange(Body):
    """The fields of the own profile to change; `null` removes a value."""

    display_name: str | None = Field(
        None, max_length=255, description="The name, instead of the one in the token.", examples=["Оксана"]
    )
    status_text: str | None = Field(
        None,
        max_length=MAX_STATUS_CHARS,
        description="The status text, shown with the presence.",
        examples=["пишу літопис Подолу"],
    )
    avatar: str | None = Field(
        None,
        max_length=255,
        description="The `mxc://` URI of a picture that the citizen uploaded.",
        examples=["mxc://daarion.space/SEsfnsuifSDFSSEF"],
    )

    def change(self) -> ProfileChange:
        """Return the change, in which absent fields are unchanged."""
        return ProfileChange(*(getattr(self, name) if name in self.model_fields_set else UNCHANGED for name in _FIELDS))


_FIELDS: Final = ("display_name", "avatar", "status_text")


@dataclass(frozen=True, slots=True)
class MeRoutes:
    accounts: Accounts
    profiles: OwnProfiles
    identities: Identities

    @endpoint(
        "GET",
        "/city/me",
        access=Access.CITIZENS_ONLY,
        summary="Get the citizen of the token",
        response=schemas.CurrentCitizen,
    )
    async def get_me(self, call: Call[NoBody, NoQuery]) -> schemas.CurrentCitizen:
        """Returns the citizen with the own profile, and the linked Matrix account."""
        citizen = _citizen(call.principal)
        return self._view(citizen, await self.accounts.of(citizen.id), await self.profiles.of(citizen.id))

    @endpoint(
        "PATCH",
        "/city/me",
        access=Access.CITIZENS_ONLY,
        body=OwnProfileChange,
        summary="Change the own profile",
        response=schemas.CurrentCitizen,
        errors=(
            "name_required",
            "name_invalid",
            "status_invalid",
            "avatar_unknown",
            "avatar_invalid",
            "linked_profile",
        ),
    )
    async def change_profile(self, call: Call[OwnProfileChange, NoQuery]) -> schemas.CurrentCitizen:
        """Everybody sees the name and the picture with all that the citizen has written, also on Matrix, where they are those of
        the citizen's ghost. The status text is that of heartbeats without `status_msg`.

        The name and the picture of a linked citizen are those of the Matrix account: changing them is 409.
        """
        citizen = _citizen(call.principal)
        profile = await self.profiles.change(citizen.id, citizen.display_name, call.body.change())
        return self._view(citizen, await self.accounts.of(citizen.id), profile)

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
        return self._view(citizen, user, await self.profiles.of(citizen.id))

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

    def _view(self, citizen: Citizen, user: UserId | None, own: OwnProfile) -> schemas.CurrentCitizen:
        author = Author(AuthorKind.CITIZEN, citizen.id, own.display_name or citizen.display_name, own.avatar_url)
        account = self.identities.accounts.of_citizen(citizen.id) if user is not None else None
        shown = author if account is None else self.identities.accounts.shown(author)
        return {
            "user_id": citizen.id,
            "display_name": shown.display_name,
            "avatar_url": MediaUrls(self.identities.media_links).url(shown.avatar_url),
            "status_text": own.status_text,
            "matrix_user_id": user,
            "ghost_user_id": self.identities.citizen(citizen.id),
            "subject": user or citizen.id,
        }


def _citizen(principal: Principal) -> Citizen:
    assert isinstance(principal, Citizen)
    return principal
