"""The response model of previews of links."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict


class UrlPreview(TypedDict):
    """The preview of a linked page: what the page says of itself (Open Graph), as plain text of one line each."""

    url: Annotated[
        str,
        Field(description="The URL without its fragment.", examples=["https://uk.wikipedia.org/wiki/Фунікулер"]),
    ]
    title: Annotated[str, Field(description="The title, or empty.", examples=["Київський фунікулер"])]
    description: Annotated[
        str, Field(description="The description, or empty.", examples=["Сполучає Поділ із Верхнім містом."])
    ]
    site_name: Annotated[str, Field(description="The name of the site, or empty.", examples=["Вікіпедія"])]
    image_url: Annotated[
        str | None,
        Field(
            description="The path of the page's picture, which needs the same token; `null` if it has none.",
            examples=["/city/preview/image?url=https%3A%2F%2Fuk.wikipedia.org%2Fwiki%2F%D0%A4"],
        ),
    ]
