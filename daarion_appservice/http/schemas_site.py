"""The response models of ``routes/site.py`` and ``routes/sign_in.py`` for ``/openapi.json``."""

from __future__ import annotations

from pydantic import BaseModel, Field

from .schemas import Moment


class WaysIn(BaseModel):
    """How one becomes a citizen here; it may be in several ways, or in none."""

    url: str | None = Field(
        description="The page of the city's own sign-in: it takes `return_to`, an address of this city, and sends people back "
        "there with `#token=` and their JWT.",
        examples=["https://auth.daarion.space/sign-in"],
    )
    name: bool = Field(description="Whether a name is enough.", examples=[False])
    matrix: bool = Field(description="Whether one may come with an account on the homeserver.", examples=[True])


class MatrixSide(BaseModel):
    """Where the city is on Matrix."""

    server_name: str = Field(description="What stands behind the colon in user ids.", examples=["daarion.space"])
    homeserver_url: str | None = Field(
        description="Where Matrix clients reach the homeserver.", examples=["https://matrix.daarion.space"]
    )
    client_url: str | None = Field(
        description="A Matrix client to open rooms and people in: `<client_url>/#/room/<alias>`; `null`: any, by matrix.to.",
        examples=["https://app.element.io"],
    )


class Site(BaseModel):
    """What pages of the city need to know."""

    city_name: str = Field(description="What the city is called.", examples=["DAARION"])
    sign_in: WaysIn = Field(description="How one becomes a citizen.")
    matrix: MatrixSide = Field(description="Where it is on Matrix.")
    heartbeat_ms: int = Field(gt=0, description="Milliseconds after which a heartbeat is due.", examples=[20000])
    away_after_ms: int = Field(
        gt=0, description="Milliseconds after which somebody who does nothing is away.", examples=[300000]
    )


class SignedIn(BaseModel):
    """Somebody became a citizen."""

    token: str = Field(
        description="A JWT of theirs, for `Authorization: Bearer <token>`.",
        examples=["eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJ1XzEyMyJ9.c2lnbmF0dXJl"],
    )
    user_id: str = Field(description="Their id: the token's `sub`.", examples=["u_01m80jjaxfoksana0000000000"])
    display_name: str = Field(description="What others see.", examples=["Оксана"])
    expires_at: Moment = Field(description="When the token ends.")
