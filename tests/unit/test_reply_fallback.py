"""The quotation at the beginning of replies from older Matrix clients is stripped."""

from __future__ import annotations

import pytest

from daarion_appservice.city.reply_fallback import strip_reply_fallback


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("> <@alice:example.org> привіт\n> як справи?\n\nдобре", "добре"),
        ("> * <@alice:example.org> махає\n\nдобре", "добре"),
        ("> <@alice:example.org> a\n>\n> b\n\n\nдобре", "\nдобре"),
        ("> <@alice:example.org> a\n\n> моя цитата\nдобре", "> моя цитата\nдобре"),
        ("> <@alice:example.org> a\nдобре", "добре"),
        ("> моя цитата\n\nдобре", "> моя цитата\n\nдобре"),
        ("> <alice> a\n\nдобре", "> <alice> a\n\nдобре"),
        ("добре\n> <@alice:example.org> a\n\nтак", "добре\n> <@alice:example.org> a\n\nтак"),
        ("> <@alice:example.org> a", "> <@alice:example.org> a"),
    ],
)
def test_reply_fallback_is_stripped(body: str, text: str) -> None:
    assert strip_reply_fallback(body) == text
