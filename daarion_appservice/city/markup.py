"""Conversion of messages: Markdown, which citizens and agents write, and HTML, which Matrix events carry.

Markdown  -- rendered -->  HTML for Matrix        HTML from Matrix  -- sanitised -->  HTML for a page

The texts come from untrusted users, so each function takes time linear in the length of the text, and every part
without a bound of its own has one here. A text beyond the bounds is accepted without HTML, and shown as plain text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from html import escape
from itertools import islice
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import nh3
import pyromark

from .links import identifiers, links, without_markup
from .types import UserId

MAX_CONTENT_BYTES: Final = 48_000
"""The largest text and HTML together as JSON: both are in one event, which has 65,536 bytes at most."""
MAX_HTML_BYTES: Final = 65_536
"""The largest HTML from Matrix: no event holds more."""
MAX_NESTING: Final = 100
"""The deepest nesting of tags (client-server API, "m.room.message msgtypes")."""
MAX_FORMATTING: Final = 16
"""Open tags like ``b`` at most: an HTML parser may have to reopen all of them in every paragraph that follows."""
MAX_EVENTS: Final = 20_000
"""Parser events (starts, ends, pieces of text) of Markdown at most: 8 kB of heavily formatted text have 2,000."""
MAX_TAGS: Final = 10_000
"""Tags of HTML at most: a table of 2,000 cells has 5,000."""
MAX_MENTIONS: Final = 50

_LANGUAGE: Final = re.compile(r"language-[\w+#./-]{1,64}")
_ANYTHING: Final = re.compile(r"[^\0]*")
_QUOTED: Final = str.maketrans({'"': "&quot;", "<": "&lt;"})
# Client-server API v1.16, "m.room.message msgtypes". Of ``target``, only ``_blank`` is useful.
_ATTRIBUTES: Final[Mapping[str, Mapping[str, re.Pattern[str]]]] = {
    "span": {
        "data-mx-bg-color": re.compile("#[0-9A-Fa-f]{6}"),
        "data-mx-color": re.compile("#[0-9A-Fa-f]{6}"),
        "data-mx-spoiler": _ANYTHING,
        "data-mx-maths": _ANYTHING,
    },
    "div": {"data-mx-maths": _ANYTHING},
    "a": {"href": re.compile(r"(?i:https?|ftp|mailto|magnet|matrix):[^\0]+"), "target": re.compile("_blank")},
    "img": {
        "src": re.compile("mxc://[A-Za-z0-9.:_-]+/[A-Za-z0-9_-]+"),
        "alt": _ANYTHING,
        "title": _ANYTHING,
        "width": re.compile("[0-9]{1,4}"),
        "height": re.compile("[0-9]{1,4}"),
    },
    "ol": {"start": re.compile("-?[0-9]{1,9}")},
    "code": {"class": _LANGUAGE},
}
_TAGS: Final = frozenset(
    "del h1 h2 h3 h4 h5 h6 blockquote p a ul ol sup sub li b i u strong em s code hr br div table thead tbody tr th td "  # noqa: SIM905
    "caption pre span img details summary".split()
)
_VOID: Final = frozenset({"br", "hr", "img"})
_FORMATTING: Final = frozenset({"a", "b", "code", "em", "i", "s", "strong", "u"})
"""Formatting elements, which an HTML parser reopens after another tag has closed them."""
_HEADINGS: Final = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
_HOLDS_PARTS_ONLY: Final = frozenset({"table", "thead", "tbody", "tr"})
_ENDS_A_PARAGRAPH: Final = _HEADINGS | {
    "blockquote",
    "details",
    "div",
    "hr",
    "ol",
    "p",
    "pre",
    "summary",
    "table",
    "ul",
}
_STANDS_IN: Final[Mapping[str, frozenset[str]]] = {
    "li": frozenset({"ul", "ol"}),
    "caption": frozenset({"table"}),
    "thead": frozenset({"table"}),
    "tbody": frozenset({"table"}),
    "tr": frozenset({"table", "thead", "tbody"}),
    "th": frozenset({"tr"}),
    "td": frozenset({"tr"}),
}
_DROPPED_WHOLE: Final = "mx-reply|script|style|title|textarea|template|xmp|iframe|noembed|noframes|noscript|plaintext"

_MARKUP: Final = re.compile(
    rf"""<!--(?:(?!-->).)*+(?:-->)?+
    | <[!?][^>]*+>?+
    | <(?P<whole>{_DROPPED_WHOLE})\b[^>]*+>?+(?:(?!</(?P=whole)\b).)*+(?:</[^>]*+>?+)?+
    | <(?P<end>/?)(?P<tag>[A-Za-z][A-Za-z0-9-]*+)(?P<attributes>(?:[^<>"']|"[^"]*+"|'[^']*+')*+)>""",
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
_ATTRIBUTE: Final = re.compile(r"""([A-Za-z][A-Za-z0-9-]*+)(?:\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s"'<>]++)))?+""")
_NEWLINES_OF_PRE: Final = re.compile("<pre>\n+")
_SOMETHING_TO_SEE: Final = re.compile(r"<img|(?:^|>)\s*+[^<\s]")

_REPLY_FALLBACK: Final = re.compile(r"> (?:\* )?<@[^:>\n]*+:[^\s>]+>[^\n]*+(?:\n|\Z)(?:>(?: [^\n]*+)?(?:\n|\Z))*+\n?")
_MENTION: Final = re.compile(
    r"(?<![\w@/+=])@"
    r"([\w.=/+-]{1,255}+:[A-Za-z0-9-]++(?:\.[A-Za-z0-9-]++)*+(?::[0-9]{1,5}+)?+|[A-Za-z0-9][A-Za-z0-9_-]{0,63}+)"
    r"(?![\w@])"
)


class Pill(NamedTuple):
    """A mention as Matrix clients show and link it."""

    user_id: UserId
    display_name: str


_NOBODY: Final[Mapping[str, Pill]] = MappingProxyType({})


def rendered(body: str, mentions: Mapping[str, Pill] = _NOBODY) -> str | None:
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
    markdown = _protected(body)
    if "]:" in markdown and _MARKDOWN.reference_definitions(markdown):
        return None
    page = _Page(mentions)
    for number, event in enumerate(_MARKDOWN.events(markdown)):
        if number == MAX_EVENTS:
            return None
        page.take(event)
    html = sanitised(page.html()) if page.says_more else None
    return html if html and len(json.dumps([body, html], ensure_ascii=False).encode()) <= MAX_CONTENT_BYTES else None


def sanitised(html: str) -> str | None:
    """Sanitize the ``formatted_body`` of a message from Matrix to the tags and attributes that the spec permits.

    Text inside other tags remains; ``<mx-reply>``, which contains the fallback of replies, is removed with its content.
    Image sources remain ``mxc://`` URIs, which no browser can load, until `media.with_image_sources` replaces them.
    Links to ``matrix.to`` remain ordinary links.

    Returns:
        The HTML, or None if it shows nothing, has too many or too deeply nested tags, or is larger than an event.
    """
    if len(html) > MAX_HTML_BYTES:
        return None
    tidy = _tidied(html)
    if tidy is None:
        return None
    clean = _NEWLINES_OF_PRE.sub("<pre>", _CLEANER.clean(tidy)).strip()
    return clean if len(clean) <= MAX_HTML_BYTES and _SOMETHING_TO_SEE.search(clean) else None


def without_reply_fallback(body: str) -> str:
    """Remove the reply fallback (client-server API up to v1.12): ``> <@user:server> …``.

    Other quotations remain, and so does a fallback without text after it.
    """
    fallback = _REPLY_FALLBACK.match(body)
    return body[fallback.end() :] or body if fallback else body


def mention_names(body: str) -> list[str]:
    """Return the names that follow an ``@`` in ``body``: ``daarwizz``, ``alice:example.org``.

    The names are in lower case, without ``@``, in their order, each once, and MAX_MENTIONS at most. Names in code,
    quotations, links and URLs do not count. ``room`` is a name too.
    """
    if "@" not in body:
        return []
    names: dict[str, None] = {}
    for text in prose(body):
        names.update(dict.fromkeys(mention[1].lower() for mention in _MENTION.finditer(text)))
        if len(names) >= MAX_MENTIONS:
            break
    return list(names)[:MAX_MENTIONS]


def prose(body: str) -> Iterator[str]:
    """Yield the text of ``body`` outside code, links and quotations, in pieces."""
    closed_to_mentions = 0
    event: Any  # As in _Page.
    for event in islice(_MARKDOWN.events(_protected(body)), MAX_EVENTS):
        match event:
            case {"Start": {"CodeBlock": _} | {"Link": _} | {"BlockQuote": _}}:
                closed_to_mentions += 1
            case {"End": "CodeBlock" | "Link"} | {"End": {"BlockQuote": _}}:
                closed_to_mentions -= 1
            case {"Text": text} | {"Html": text} | {"InlineHtml": text} if not closed_to_mentions:
                yield text


def _protected(body: str) -> str:
    """Escape Markdown so that nothing inside a URL or identifier is markup."""
    if next(identifiers(body), None) is None:
        return body
    closed: list[tuple[int, int]] = []
    event: Any  # As in _Page.
    for event, place in islice(_MARKDOWN.events_with_range(body), MAX_EVENTS):
        match event:
            case (
                {"Code": _} | {"Html": _} | {"InlineHtml": _} | {"Start": {"CodeBlock": _} | {"Link": _} | {"Image": _}}
            ):
                closed.append((place["start"], place["end"]))
    return without_markup(body, _characters(body, closed))


def _characters(body: str, ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Convert ranges of bytes of ``body`` in UTF-8 to ranges of its characters."""
    if not ranges or body.isascii():
        return ranges
    raw, places, done, count = body.encode(), {}, 0, 0
    for offset in sorted({each for both in ranges for each in both}):
        count += len(raw[done:offset].decode())
        places[offset], done = count, offset
    return [(places[start], places[end]) for start, end in ranges]


_MARKDOWN: Final = pyromark.Markdown(
    options=pyromark.Options.ENABLE_TABLES | pyromark.Options.ENABLE_STRIKETHROUGH,
)
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


class _Page:
    """HTML from the events of a Markdown parser. HTML inside Markdown becomes text.

    pyromark's types for its events are too deep for mypy to narrow: hence Any.
    """

    def __init__(self, mentions: Mapping[str, Pill]) -> None:
        self.says_more = False
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

    def take(self, event: Any) -> None:
        match event:
            case {"Start": tag}:
                self._begin(*self._tag(tag))
            case {"End": _}:
                self._end()
            case {"Text": text} | {"Html": text} | {"InlineHtml": text}:
                self._text(text)
            case {"Code": code}:
                self._markup(f"<code>{_escaped(code)}</code>")
            case "Rule":
                self._begin("<hr>", "")
                self._end()
                self.says_more = True
            case "SoftBreak" | "HardBreak":
                self._parts.append("<br>")

    def _begin(self, begin: str, end: str) -> None:
        self._blocks += not self._ends
        if begin:
            self._parts.append(begin)
        self._ends.append(end)

    def _end(self) -> None:
        end = self._ends.pop()
        if end == "</p>":
            self._parts[-1] = self._parts[-1].removesuffix("<br>")
        if end == "</a>" and self._parts[-1].startswith(_LINK):
            self._parts.append(self._parts[-1].removeprefix(_LINK).removesuffix('">'))
        self._is_link = self._is_link and end != "</a>"
        self._is_code = self._is_code and end != "</code></pre>"
        self._parts.append(end)

    def _markup(self, html: str) -> None:
        self._parts.append(html)
        self.says_more = True

    def _text(self, text: str) -> None:
        if self._is_code:
            self._parts.append(_escaped(text))
        elif self._is_link:
            self._parts.append(_lines(text))
        else:
            done = 0
            for start, end in links(text):
                self._with_pills(text[done:start])
                address = _escaped(text[start:end])
                # Clients link URLs in plain text too, so such a link does not require HTML.
                self._parts.append(f'{_LINK}{address}">{address}</a>')
                done = end
            self._with_pills(text[done:])

    def _with_pills(self, text: str) -> None:
        if not self._mentions or "@" not in text:
            self._parts.append(_lines(text))
            return
        done = 0
        for mention in _MENTION.finditer(text):
            pill = self._mentions.get(mention[1].lower())
            if pill:
                self._parts.append(_lines(text[done : mention.start()]))
                address = quote(pill.user_id, safe="@:=+")
                self._markup(f'<a href="https://matrix.to/#/{address}">{_lines(pill.display_name)}</a>')
                done = mention.end()
        self._parts.append(_lines(text[done:]))

    def _tag(self, tag: Any) -> tuple[str, str]:
        match tag:
            case "Paragraph" | "HtmlBlock":
                return _PARAGRAPH
            case {"Link": link}:
                return self._link(link, otherwise="[")
            case {"Image": link}:
                return self._link(link, otherwise="![")
        self.says_more = True
        if tag == "TableCell":
            name = "th" if self._ends[-1] == _PLAIN_TAGS["TableHead"][1] else "td"
            return f"<{name}>", f"</{name}>"
        return _PLAIN_TAGS[tag] if isinstance(tag, str) else self._tag_with_more(tag)

    def _tag_with_more(self, tag: Any) -> tuple[str, str]:
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
        if not _ATTRIBUTES["a"]["href"].fullmatch(address):
            return ("&lt;", "&gt;") if kind in {"Autolink", "Email"} else (otherwise, f"]({_escaped(address)})")
        self._is_link = self.says_more = True
        return f'{_LINK}{_escaped(address)}">', "</a>"


def _escaped(text: str) -> str:
    return escape(text, quote=True)


def _lines(text: str) -> str:
    return _escaped(text).replace("\n", "<br>")


class _Tidy:
    """Builds HTML of permitted tags only, each of which is closed in order.

    HTML's rules for unclosed and misplaced tags make a parser's work quadratic in its input, and its output a hundred
    times as long (each ``<p>`` reopens what the last one left open). This class closes such tags instead.
    """

    def __init__(self) -> None:
        self.parts: list[str] = []
        self._open: list[str] = []
        self._formatting = 0

    @property
    def is_too_deep(self) -> bool:
        return len(self._open) > MAX_NESTING or self._formatting > MAX_FORMATTING

    def begin(self, tag: str, attributes: str) -> None:
        if tag in _STANDS_IN:
            if not self._make_room(_STANDS_IN[tag]):
                return
            if tag == "tr" and self._open[-1] == "table":
                self.begin("tbody", "")
        elif self._open and self._open[-1] in _HOLDS_PARTS_ONLY:
            return
        if tag in _ENDS_A_PARAGRAPH:
            self.end("p")
            if tag in _HEADINGS and self._open and self._open[-1] in _HEADINGS:
                self._close()
        elif tag == "a":
            self.end("a")
        permitted = _permitted(tag, attributes) if tag in _ATTRIBUTES else ""
        if tag == "img" and not permitted.startswith(" src="):
            return
        self.parts.append(f"<{tag}{permitted}>")
        if tag not in _VOID:
            self._open.append(tag)
            self._formatting += tag in _FORMATTING

    def end(self, tag: str) -> None:
        """Close ``tag``, if it is open, and every tag that is open inside it."""
        if tag in self._open:
            while self._close() != tag:
                pass

    def finish(self) -> str:
        while self._open:
            self._close()
        return "".join(self.parts)

    def _make_room(self, parents: frozenset[str]) -> bool:
        """Close every tag inside the innermost of ``parents``; return False if none of them is open."""
        if parents.isdisjoint(self._open):
            return False
        while self._open[-1] not in parents:
            self._close()
        return True

    def _close(self) -> str:
        tag = self._open.pop()
        self._formatting -= tag in _FORMATTING
        self.parts.append(f"</{tag}>")
        return tag


def _tidied(html: str) -> str | None:
    """Return ``html`` as `_Tidy` builds it; None if tags are too deeply nested or too many."""
    tidy = _Tidy()
    done = 0
    for number, markup in enumerate(_MARKUP.finditer(html)):
        tidy.parts.append(html[done : markup.start()].replace("<", "&lt;"))
        done = markup.end()
        tag = (markup["tag"] or "").lower()
        if tag not in _TAGS:
            continue
        if markup["end"]:
            tidy.end(tag)
        else:
            tidy.begin(tag, markup["attributes"])
        if tidy.is_too_deep or number == MAX_TAGS:
            return None
    tidy.parts.append(html[done:].replace("<", "&lt;"))
    return tidy.finish()


def _permitted(tag: str, attributes: str) -> str:
    """Return those of ``attributes`` that the spec permits for ``tag``."""
    found: dict[str, str] = {}
    for name, double, single, bare in _ATTRIBUTE.findall(attributes):
        found.setdefault(name.lower(), (double or single or bare).strip())
    if tag == "code" and "class" in found:
        found["class"] = next(filter(_LANGUAGE.fullmatch, found["class"].split()), "")
    return "".join(
        f' {name}="{found[name].translate(_QUOTED)}"'
        for name, pattern in _ATTRIBUTES[tag].items()
        if name in found and pattern.fullmatch(found[name])
    )


# `_tidied` returns only permitted tags; nh3 guarantees that no browser parses the result differently.
_CLEANER: Final = nh3.Cleaner(
    tags=_TAGS,
    attributes={tag: frozenset(permitted) for tag, permitted in _ATTRIBUTES.items()},
    url_schemes={"https", "http", "ftp", "mailto", "magnet", "matrix", "mxc"},
    url_relative="deny",
    link_rel="noopener",
)
