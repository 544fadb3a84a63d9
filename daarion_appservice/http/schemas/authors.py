"""The response models of authors and citizens."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from ...city.types import AuthorKind


class Author(TypedDict):
    """A citizen, an agent or a Matrix user, as author of messages and member of rooms."""

    kind: Annotated[
        AuthorKind,
        Field(
            description="`citizen`, `agent`, or `matrix` for a Matrix user, linked citizens included.",
            examples=["citizen"],
        ),
    ]
    id: Annotated[str, Field(description="The citizen id, agent slug or Matrix user id.", examples=["u_123"])]
    display_name: Annotated[str, Field(description="The display name.", examples=["Оксана"])]
    matrix_user_id: Annotated[
        str,
        Field(
            description="The Matrix user id; of citizens and agents their ghost.",
            examples=["@citizen_u_123:daarion.space"],
        ),
    ]
    avatar_url: Annotated[
        str | None,
        Field(description="The path of the avatar on this server.", examples=["/city/media/daarion.space/oksana"]),
    ]


class CurrentCitizen(TypedDict):
    """The citizen of the token."""

    user_id: Annotated[str, Field(description="The citizen id: `sub` of the token.", examples=["u_123"])]
    display_name: Annotated[str, Field(description="The display name.", examples=["Оксана"])]
    avatar_url: Annotated[
        str | None,
        Field(description="The path of the picture on this server.", examples=["/city/media/daarion.space/oksana"]),
    ]
    status_text: Annotated[
        str | None, Field(description="The status text of the own profile.", examples=["пишу літопис Подолу"])
    ]
    matrix_user_id: Annotated[
        str | None, Field(description="The linked Matrix account.", examples=["@oksana:daarion.space"])
    ]
    ghost_user_id: Annotated[
        str,
        Field(
            description="The Matrix user id of the citizen's ghost, by which others mention a citizen without a linked account.",
            examples=["@citizen_u_123:daarion.space"],
        ),
    ]
    subject: Annotated[
        str,
        Field(
            description="The subject that messages, reactions, members and presence name: the linked Matrix account, else the "
            "citizen id.",
            examples=["@oksana:daarion.space"],
        ),
    ]


class CitizenName(TypedDict):
    """The display name of a citizen."""

    id: Annotated[str, Field(description="The citizen id of the request.", examples=["u_123"])]
    display_name: Annotated[
        str | None,
        Field(
            description="The name that the citizen has chosen, else that of the last token; `null` if there is none.",
            examples=["Оксана"],
        ),
    ]


class CitizenNames(TypedDict):
    """The display names of citizens."""

    citizens: Annotated[list[CitizenName], Field(description="One entry for each id, in the order of the request.")]
