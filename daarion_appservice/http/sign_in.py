"""``/city/sign-in``: how somebody without a token becomes a citizen, where the city is to see to that itself."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from ..city.names import MAX_CHARS, person_name
from ..city.ports import NewId
from ..city.types import CitizenId
from ..config import SignInSettings
from ..errors import NotAllowed
from . import schemas_site as schemas
from .endpoint import Body, Call, NoQuery, endpoint
from .jwt_issue import JwtIssue
from .principals import Access
from .views import JSON, moment

_RAW_CHARS: Final = 4 * MAX_CHARS
"""Of a name that may be shorter once its spaces are."""


class NewName(Body):
    name: str = Field(
        min_length=1,
        max_length=_RAW_CHARS,
        description="What others shall see: 1 to 60 characters.",
        examples=["Оксана"],
    )


class SignInRoutes:
    def __init__(self, settings: SignInSettings, issue: JwtIssue, new_id: NewId) -> None:
        self._settings = settings
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
        return self._signed_in(CitizenId(f"u_{self._new_id().lower()}"), name)

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
        raise NotAllowed("sign_in_closed", f"this city lets nobody in this way; see sign_in.{way}")
