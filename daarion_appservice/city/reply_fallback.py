"""The reply fallback of Matrix messages: a quotation at the beginning of ``body`` (client-server API up to v1.12)."""

from __future__ import annotations

import re
from typing import Final

_REPLY_FALLBACK: Final = re.compile(r"> (?:\* )?<@[^:>\n]*+:[^\s>]+>[^\n]*+(?:\n|\Z)(?:>(?: [^\n]*+)?(?:\n|\Z))*+\n?")


def strip_reply_fallback(body: str) -> str:
    """Remove the reply fallback (client-server API up to v1.12): ``> <@user:server> …``.

    Other quotations remain, and so does a fallback without text after it.
    """
    fallback = _REPLY_FALLBACK.match(body)
    return body[fallback.end() :] or body if fallback else body
