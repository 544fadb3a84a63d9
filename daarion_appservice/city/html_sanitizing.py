"""Sanitizing of HTML from Matrix: the tags and attributes that the Matrix specification permits, each tag closed in order.

The HTML comes from untrusted users, so each function takes time linear in its length, and every part without a bound of
its own has one here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import nh3

MAX_HTML_BYTES: Final = 65_536
"""The largest HTML from Matrix: no event holds more."""
MAX_NESTING: Final = 100
"""The deepest nesting of tags (client-server API, "m.room.message msgtypes")."""
MAX_FORMATTING: Final = 16
"""Open tags like ``b`` at most: an HTML parser may have to reopen all of them in every paragraph that follows."""
MAX_TAGS: Final = 10_000
"""Tags of HTML at most: a table of 2,000 cells has 5,000."""
LINK_URL: Final = re.compile(r"(?i:https?|ftp|mailto|magnet|matrix):[^\0]+")
"""The URLs that a link may have."""

_LANGUAGE: Final = re.compile(r"language-[\w+#./-]{1,64}")
_ANY_TEXT: Final = re.compile(r"[^\0]*")
_ESCAPES: Final = str.maketrans({'"': "&quot;", "<": "&lt;"})
# Client-server API v1.16, "m.room.message msgtypes", and the mark of custom emoji (MSC2545), whose value means nothing. Of
# ``target``, only ``_blank`` is useful.
_ATTRIBUTES: Final[Mapping[str, Mapping[str, re.Pattern[str]]]] = {
    "span": {
        "data-mx-bg-color": re.compile("#[0-9A-Fa-f]{6}"),
        "data-mx-color": re.compile("#[0-9A-Fa-f]{6}"),
        "data-mx-spoiler": _ANY_TEXT,
        "data-mx-maths": _ANY_TEXT,
    },
    "div": {"data-mx-maths": _ANY_TEXT},
    "a": {"href": LINK_URL, "target": re.compile("_blank")},
    "img": {
        "src": re.compile("mxc://[A-Za-z0-9.:_-]+/[A-Za-z0-9_-]+"),
        "alt": _ANY_TEXT,
        "title": _ANY_TEXT,
        "data-mx-emoticon": re.compile(""),
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
_TABLE_PARENTS: Final = frozenset({"table", "thead", "tbody", "tr"})
"""Elements that contain only elements of `_PARENTS`."""
_CLOSES_PARAGRAPH: Final = _HEADINGS | {
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
_PARENTS: Final[Mapping[str, frozenset[str]]] = {
    "li": frozenset({"ul", "ol"}),
    "caption": frozenset({"table"}),
    "thead": frozenset({"table"}),
    "tbody": frozenset({"table"}),
    "tr": frozenset({"table", "thead", "tbody"}),
    "th": frozenset({"tr"}),
    "td": frozenset({"tr"}),
}
"""The elements of which one must be open around each of these."""
# Removed with their content.
_REMOVED_ELEMENTS: Final = (
    "mx-reply|script|style|title|textarea|template|xmp|iframe|noembed|noframes|noscript|plaintext"
)

_TAG: Final = re.compile(
    rf"""<!--(?:(?!-->).)*+(?:-->)?+
    | <[!?][^>]*+>?+
    | <(?P<removed>{_REMOVED_ELEMENTS})\b[^>]*+>?+(?:(?!</(?P=removed)\b).)*+(?:</[^>]*+>?+)?+
    | <(?P<end>/?)(?P<tag>[A-Za-z][A-Za-z0-9-]*+)(?P<attributes>(?:[^<>"']|"[^"]*+"|'[^']*+')*+)>""",
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
_ATTRIBUTE: Final = re.compile(r"""([A-Za-z][A-Za-z0-9-]*+)(?:\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s"'<>]++)))?+""")
_ALT: Final = re.compile(' alt="([^"]+)"')
_TITLE: Final = re.compile(' title="([^"]+)"')
_NEWLINES_AFTER_PRE: Final = re.compile("<pre>\n+")
_VISIBLE_CONTENT: Final = re.compile(r"<img|(?:^|>)\s*+[^<\s]")


def sanitize_html(html: str) -> str | None:
    """Sanitize the ``formatted_body`` of a message from Matrix to the tags and attributes that the spec permits.

    Text inside other tags remains; ``<mx-reply>``, which contains the fallback of replies, is removed with its content.
    Image sources remain ``mxc://`` URIs, which no browser can load, until `media.with_image_sources` replaces them.
    Links to ``matrix.to`` remain ordinary links.

    Returns:
        The HTML, or None if it shows nothing, has too many or too deeply nested tags, or is larger than an event.
    """
    if len(html) > MAX_HTML_BYTES:
        return None
    balanced = _balance_tags(html)
    if balanced is None:
        return None
    clean = _NEWLINES_AFTER_PRE.sub("<pre>", _CLEANER.clean(balanced)).strip()
    return clean if len(clean) <= MAX_HTML_BYTES and _VISIBLE_CONTENT.search(clean) else None


class _TagBalancer:
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

    def start_tag(self, tag: str, attributes: str) -> None:
        if tag in _PARENTS:
            if not self._close_up_to(_PARENTS[tag]):
                return
            if tag == "tr" and self._open[-1] == "table":
                self.start_tag("tbody", "")
        elif self._open and self._open[-1] in _TABLE_PARENTS:
            return
        if tag in _CLOSES_PARAGRAPH:
            self.end_tag("p")
            if tag in _HEADINGS and self._open and self._open[-1] in _HEADINGS:
                self._close()
        elif tag == "a":
            self.end_tag("a")
        permitted = _permitted_attributes(tag, attributes) if tag in _ATTRIBUTES else ""
        if tag == "img" and not permitted.startswith(" src="):
            # An image that is not on the homeserver is replaced by its text: a custom emoji by its shortcode (MSC2545).
            self.parts.append(_picture_name(permitted))
            return
        self.parts.append(f"<{tag}{permitted}>")
        if tag not in _VOID:
            self._open.append(tag)
            self._formatting += tag in _FORMATTING

    def end_tag(self, tag: str) -> None:
        """Close ``tag``, if it is open, and every tag that is open inside it."""
        if tag in self._open:
            while self._close() != tag:
                pass

    def finish(self) -> str:
        while self._open:
            self._close()
        return "".join(self.parts)

    def _close_up_to(self, parents: frozenset[str]) -> bool:
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


def _balance_tags(html: str) -> str | None:
    """Return ``html`` as `_TagBalancer` builds it; None if tags are too deeply nested or too many."""
    balanced = _TagBalancer()
    done = 0
    for number, match in enumerate(_TAG.finditer(html)):
        balanced.parts.append(html[done : match.start()].replace("<", "&lt;"))
        done = match.end()
        tag = (match["tag"] or "").lower()
        if tag not in _TAGS:
            continue
        if match["end"]:
            balanced.end_tag(tag)
        else:
            balanced.start_tag(tag, match["attributes"])
        if balanced.is_too_deep or number == MAX_TAGS:
            return None
    balanced.parts.append(html[done:].replace("<", "&lt;"))
    return balanced.finish()


def _picture_name(attributes: str) -> str:
    """Return the ``alt`` text of a picture, or else its title, from permitted attributes."""
    name = _ALT.search(attributes) or _TITLE.search(attributes)
    return name[1] if name else ""


def _permitted_attributes(tag: str, attributes: str) -> str:
    """Return those of ``attributes`` that the spec permits for ``tag``."""
    found: dict[str, str] = {}
    for name, double, single, bare in _ATTRIBUTE.findall(attributes):
        found.setdefault(name.lower(), (double or single or bare).strip())
    if tag == "code" and "class" in found:
        found["class"] = next(filter(_LANGUAGE.fullmatch, found["class"].split()), "")
    return "".join(
        f' {name}="{found[name].translate(_ESCAPES)}"'
        for name, pattern in _ATTRIBUTES[tag].items()
        if name in found and pattern.fullmatch(found[name])
    )


# `_balance_tags` returns only permitted tags; nh3 guarantees that no browser parses the result differently.
_CLEANER: Final = nh3.Cleaner(
    tags=_TAGS,
    attributes={tag: frozenset(permitted) for tag, permitted in _ATTRIBUTES.items()},
    url_schemes={"https", "http", "ftp", "mailto", "magnet", "matrix", "mxc"},
    url_relative="deny",
    link_rel="noopener",
)
