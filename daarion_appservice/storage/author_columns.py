"""Conversion between authors and the columns ``author_kind``, ``author_id``, ``author_name`` and ``author_avatar``."""

from __future__ import annotations

from typing import Any

from sqlalchemy.engine import Row

from ..city.types import Author, AuthorKind


def author_values(author: Author) -> dict[str, Any]:
    return {
        "author_kind": author.kind,
        "author_id": author.id,
        "author_name": author.display_name,
        "author_avatar": author.avatar_url,
    }


def author_in_row(row: Row[Any]) -> Author:
    return Author(AuthorKind(row.author_kind), row.author_id, row.author_name, row.author_avatar)
