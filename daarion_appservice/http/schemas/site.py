"""The response models of the site settings and of sign-in."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from .types import Timestamp


class SignInMethods(TypedDict):
    """The ways to sign in; there may be several, or none."""

    url: Annotated[
        str | None,
        Field(
            description="The external sign-in page. It takes `return_to`, an address of this city, and redirects there with the "
            "JWT as `#token=`.",
            examples=["https://auth.daarion.space/sign-in"],
        ),
    ]
    name: Annotated[bool, Field(description="Whether `POST /city/sign-in/name` is on.", examples=[False])]
    matrix: Annotated[bool, Field(description="Whether `POST /city/sign-in/matrix` is on.", examples=[True])]


class MatrixServer(TypedDict):
    """The homeserver of the city."""

    server_name: Annotated[
        str, Field(description="The server name, which follows the colon in user ids.", examples=["daarion.space"])
    ]
    homeserver_url: Annotated[
        str | None,
        Field(description="The homeserver's URL for Matrix clients.", examples=["https://matrix.daarion.space"]),
    ]
    client_url: Annotated[
        str | None,
        Field(
            description="A Matrix client, which opens rooms as `<client_url>/#/room/<alias>` and users as "
            "`<client_url>/#/user/<id>`; `null`: use `matrix.to`.",
            examples=["https://app.element.io"],
        ),
    ]


class SiteSettings(TypedDict):
    """The settings of the city's pages."""

    city_name: Annotated[str, Field(description="The name of the city.", examples=["DAARION"])]
    sign_in: Annotated[SignInMethods, Field(description="The ways to sign in.")]
    matrix: Annotated[MatrixServer, Field(description="The homeserver.")]
    heartbeat_ms: Annotated[int, Field(gt=0, description="Milliseconds between heartbeats.", examples=[20000])]
    away_after_ms: Annotated[
        int,
        Field(gt=0, description="Milliseconds without input after which a client reports `away`.", examples=[300000]),
    ]
    url_previews: Annotated[bool, Field(description="Whether `GET /city/preview` is on.", examples=[False])]


class SignInNonce(TypedDict):
    """A nonce for one sign-in with a Matrix account, or one link of it."""

    nonce: Annotated[
        str,
        Field(
            description="Sent once, with an OpenID token.",
            examples=["1795317812.3q2-7wAAAAAAAAAAAAAAAA.Tm9uY2VTaWduYXR1cmU"],
        ),
    ]
    expires_at: Annotated[Timestamp, Field(description="The time at which the nonce expires.")]


class SignInResult(TypedDict):
    """The token of a citizen who has signed in."""

    token: Annotated[
        str,
        Field(
            description="A JWT for `Authorization: Bearer <token>`.",
            examples=["eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJ1XzEyMyJ9.c2lnbmF0dXJl"],
        ),
    ]
    user_id: Annotated[
        str, Field(description="The citizen id: `sub` of the token.", examples=["u_01m80jjaxfoksana0000000000"])
    ]
    display_name: Annotated[str, Field(description="The display name.", examples=["Оксана"])]
    expires_at: Annotated[Timestamp, Field(description="The time at which the token expires.")]
