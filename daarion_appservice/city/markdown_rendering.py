"""Rendering of Markdown as the HTML of a Matrix message.

Takes time linear in the length of the text. A text beyond the bounds is accepted without HTML, and shown as plain text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from .html_sanitizing import LINK_URL, sanitize_html
from .links import links
from .markdown import MARKDOWN, MAX_EVENTS, MENTION, mention_name, protect_identifiers
from .types import UserId

MAX_CONTENT_BYTES: Final = 48_000
"""The largest text and HTML together as JSON: both are in one event, which has 65,536 bytes at most."""


class Pill(NamedTuple):
    """A mention as Matrix clients show and link it."""

    user_id: UserId
    display_name: str


_NO_MENTIONS: Final[Mapping[str, Pill]] = MappingProxyType({})


def render_markdown(body: str, mentions: Mapping[str, Pill] = _NO_MENTIONS) -> str | None:
    """Render Markdown of a citizen or agent as the HTML of a Matrix message.

    Markup characters inside URLs, identifiers and file names remain text; bare URLs become links.

    Args:
        body: Markdown.
        mentions: The users to link for each ``@name``, by name as `mention_names` returns it.

    Returns:
        The HTML, or None if the plain text suffices: the body has no markup (clients show its line breaks), its HTML
            would be invisible (``+`` alone is an empty list) or lose a part (``[10:05]: hello`` defines a link), or it
            exceeds the bounds.
    """
    markdown = protect_identifiers(body)
    if "]:" in markdown and MARKDOWN.reference_definitions(markdown):
        return None
    builder = _HtmlBuilder(mentions)
    for number, event in enumerate(MARKDOWN.events(markdown)):
        if number == MAX_EVENTS:
            return None
        builder.add_event(event)
    html = sanitize_html(builder.html()) if builder.has_formatting else None
    return html if html and len(json.dumps([body, html], ensure_ascii=False).encode()) <= MAX_CONTENT_BYTES else None


_PLAIN_TAGS: Final = {
    "Item": ("<li>", "</li>"),
    "Emphasis": ("<em>", "</em>"),
    "Strong": ("<strong>", "</strong>"),
    "Strikethrough": ("<del>", "</del>"),
    "TableHead": ("<thead><tr>", "</tr></thead><tbody>"),
    "TableRow": ("<tr>", "</tr>"),
}
_PARAGRAPH: Final = ("<p>", "</p>")
_LINK: Final = '<a href="'


class _HtmlBuilder:
    """HTML from the events of a Markdown parser. HTML inside Markdown becomes text.

    pyromark's types for its events are too deep for mypy to narrow: hence Any.
    """

    def __init__(self, mentions: Mapping[str, Pill]) -> None:
        self.has_formatting = False
        """Whether the HTML shows anything that the plain text does not."""
        self._mentions = mentions
        self._parts: list[str] = []
        self._ends: list[str] = []
        """The end tags of the open elements."""
        self._blocks = 0
        """The number of top-level blocks."""
        self._is_link = False
        self._is_code = False

    def html(self) -> str:
        # "Clients should not generate HTML that is not needed, such as extra paragraph tags."
        is_one_paragraph = self._blocks == 1 and self._parts[0] == "<p>"
        return "".join(self._parts[1:-1] if is_one_paragraph else self._parts)

    def add_event(self, event: Any) -> None:
        match event:
            case {"Start": tag}:
                self._open(*self._tag(tag))
            case {"End": _}:
                self._close()
            case {"Text": text} | {"Html": text} | {"InlineHtml": text}:
                self._add_text(text)
            case {"Code": code}:
                self._add_formatting(f"<code>{_escaped(code)}</code>")
            case "Rule":
                self._open("<hr>", "")
                self._close()
                self.has_formatting = True
            case "SoftBreak" | "HardBreak":
                self._parts.append("<br>")

    def _open(self, begin: str, end: str) -> None:
        self._blocks += not self._ends
        if begin:
            self._parts.append(begin)
        self._ends.append(end)

    def _close(self) -> None:
        end = self._ends.pop()
        if end == "</p>":
            self._parts[-1] = self._parts[-1].removesuffix("<br>")
        if end == "</a>" and self._parts[-1].startswith(_LINK):
            self._parts.append(self._parts[-1].removeprefix(_LINK).removesuffix('">'))
        self._is_link = self._is_link and end != "</a>"
        self._is_code = self._is_code and end != "</code></pre>"
        self._parts.append(end)

    def _add_formatting(self, html: str) -> None:
        self._parts.append(html)
        self.has_formatting = True

    def _add_text(self, text: str) -> None:
        if self._is_code:
            self._parts.append(_escaped(text))
        elif self._is_link:
            self._parts.append(_with_line_breaks(text))
        else:
            done = 0
            for start, end in links(text):
                self._add_with_pills(text[done:start])
                address = _escaped(text[start:end])
                # Clients link URLs in plain text too, so such a link does not require HTML.
                self._parts.append(f'{_LINK}{address}">{address}</a>')
                done = end
            self._add_with_pills(text[done:])

    def _add_with_pills(self, text: str) -> None:
        if not self._mentions or "@" not in text:
            self._parts.append(_with_line_breaks(text))
            return
        done = 0
        for mention in MENTION.finditer(text):
            pill = self._mentions.get(mention_name(mention))
            if pill:
                self._parts.append(_with_line_breaks(text[done : mention.start()]))
                address = quote(pill.user_id, safe="@:=+")
                self._add_formatting(
                    f'<a href="https://matrix.to/#/{address}">{_with_line_breaks(pill.display_name)}</a>'
                )
                done = mention.end()
        self._parts.append(_with_line_breaks(text[done:]))

    def _tag(self, tag: Any) -> tuple[str, str]:
        match tag:
            case "Paragraph" | "HtmlBlock":
                return _PARAGRAPH
            case {"Link": link}:
                return self._link(link, otherwise="[")
            case {"Image": link}:
                return self._link(link, otherwise="![")
        self.has_formatting = True
        if tag == "TableCell":
            name = "th" if self._ends[-1] == _PLAIN_TAGS["TableHead"][1] else "td"
            return f"<{name}>", f"</{name}>"
        return _PLAIN_TAGS[tag] if isinstance(tag, str) else self._tag_with_attributes(tag)

    def _tag_with_attributes(self, tag: Any) -> tuple[str, str]:
        match tag:
            case {"Heading": {"level": level}}:
                return f"<{level.lower()}>", f"</{level.lower()}>"
            case {"List": None}:
                return "<ul>", "</ul>"
            case {"List": start}:
                return f'<ol start="{start}">' if start != 1 else "<ol>", "</ol>"
            case {"Table": _}:
                return "<table>", "</tbody></table>"
            case {"CodeBlock": kind}:
                self._is_code = True
                language = kind["Fenced"].split(maxsplit=1)[:1] if isinstance(kind, dict) else []
                attribute = f' class="language-{_escaped(language[0])}"' if language else ""
                return f"<pre><code{attribute}>", "</code></pre>"
        return "<blockquote>", "</blockquote>"

    def _link(self, link: Any, *, otherwise: str) -> tuple[str, str]:
        """Return start and end tag of a link; ``otherwise`` where its URL is not allowed.

        An image becomes a link to it, because clients load none from other sites; inside a link, it becomes its
        description.
        """
        kind, address = link["link_type"], link["dest_url"]
        if kind == "Email":
            address = f"mailto:{address}"
        if self._is_link:
            return "", ""
        if not LINK_URL.fullmatch(address):
            return ("&lt;", "&gt;") if kind in {"Autolink", "Email"} else (otherwise, f"]({_escaped(address)})")
        self._is_link = self.has_formatting = True
        return f'{_LINK}{_escaped(address)}">', "</a>"


def _escaped(text: str) -> str:
    return escape(text, quote=True)


def _with_line_breaks(text: str) -> str:
    return _escaped(text).replace("\n", "<br>")
