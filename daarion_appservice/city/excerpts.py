"""Excerpts of messages: text of limited length without markup. `web/src/lib/excerpt.ts` of the pages does the same."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Final

_BLOCKS: Final = frozenset(
    {"blockquote", "caption", "div", "h1", "h2", "h3", "h4", "h5", "h6", "li", "p", "pre", "summary", "td", "th", "tr"}
)
_BREAKS: Final = frozenset({"br", "hr"})


def excerpt(body: str, formatted_body: str | None, max_chars: int) -> str:
    """Return the text of a message without Markdown or HTML, at most ``max_chars`` characters long.

    The text of spoilers is left out. A text that is cut ends with "…".

    Args:
        body: The plain text or Markdown.
        formatted_body: Sanitized HTML, which distinguishes markup from text; without it every character of ``body`` is text.
        max_chars: The largest length.
    """
    text = body if formatted_body is None else _text_of(formatted_body) or body
    return text if len(text) <= max_chars else text[: max_chars - 1] + "…"


def text_of_html(html: str) -> str:
    """Return the text of sanitized HTML in lines, spoilers included: the body of a message that has none.

    Blocks and line breaks end a line; a line has no runs of spaces, and none is empty.
    """
    lines = (" ".join(line.split()) for line in _parsed(_Lines(), html).split("\n"))
    return "\n".join(line for line in lines if line)


def _text_of(html: str) -> str:
    return " ".join(_parsed(_Text(), html).split())


def _parsed(parser: _Text, html: str) -> str:
    parser.feed(html)
    parser.close()
    return "".join(parser.parts)


class _Text(HTMLParser):
    """Collects the text of HTML without spoilers; white space has no meaning."""

    separator = " "
    hides_spoilers = True

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._spoiler_depth = 0
        """The number of open ``<span>`` tags, counted from that of a spoiler."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._spoiler_depth:
            self._spoiler_depth += tag == "span"
        elif self.hides_spoilers and tag == "span" and any(name == "data-mx-spoiler" for name, _ in attrs):
            self._spoiler_depth = 1
            self.parts.append("…")
        elif tag == "img":
            self.parts.append(dict(attrs).get("alt") or "")
        elif tag in _BREAKS:
            self.parts.append(self.separator)

    def handle_endtag(self, tag: str) -> None:
        if self._spoiler_depth:
            self._spoiler_depth -= tag == "span"
        elif tag in _BLOCKS:
            self.parts.append(self.separator)

    def handle_data(self, data: str) -> None:
        if not self._spoiler_depth:
            self.parts.append(data)


class _Lines(_Text):
    """Collects the text of HTML, in which a line feed ends a line."""

    separator = "\n"
    hides_spoilers = False

    def handle_data(self, data: str) -> None:
        # A line feed in HTML is a space.
        super().handle_data(data.replace("\n", " "))
