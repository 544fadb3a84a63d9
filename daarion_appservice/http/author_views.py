"""The JSON representations of authors, and of the receipts of readers."""

from __future__ import annotations

from ..city.identity import Identities
from ..city.receipts import NamedReceipt
from ..city.timestamps import timestamp
from ..city.types import Author
from . import schemas
from .media_urls import MediaUrls


def author_view(author: Author, identities: Identities) -> schemas.Author:
    author = identities.accounts.shown(author)
    return {
        "kind": author.kind,
        "id": author.id,
        "display_name": author.display_name,
        "matrix_user_id": identities.author(author),
        "avatar_url": MediaUrls(identities.media_links).url(author.avatar_url),
    }


def receipt_view(named: NamedReceipt, identities: Identities) -> schemas.Receipt:
    receipt = named.receipt
    return {
        "user_id": identities.accounts.canonical_subject(receipt.key.reader),
        "reader": author_view(identities.accounts.with_profile(named.reader), identities),
        "message_id": receipt.position.message_id,
        "thread_root": receipt.key.thread_root,
        "read_at": timestamp(receipt.position.at_ms),
    }
