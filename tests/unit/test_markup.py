"""The text of messages: Markdown to HTML, HTML from anybody to HTML that may be shown, and who is mentioned."""

from __future__ import annotations

import json
import re
import time
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daarion_appservice.city.markup import (
    MAX_CONTENT_BYTES,
    MAX_FORMATTING,
    MAX_HTML_BYTES,
    MAX_MENTIONS,
    MAX_NESTING,
    Pill,
    mention_names,
    rendered,
    sanitised,
    without_reply_fallback,
)
from daarion_appservice.city.types import UserId

WIZARD = {"daarwizz": Pill(UserId("@agent_daarwizz:city.localhost"), "DAARWIZZ")}
PILL = '<a href="https://matrix.to/#/@agent_daarwizz:city.localhost" rel="noopener">DAARWIZZ</a>'
SLOW_S = 1.0
"""What each of these takes is at most 50 ms; what they take in Markdown or HTML parsers that are not linear, 3 s and more."""


@pytest.mark.parametrize(
    ("body", "html"),
    [
        ("**Привіт**, місто 🎉", "<strong>Привіт</strong>, місто 🎉"),
        ("*раз*\nдва", "<em>раз</em><br>два"),
        ("~~ні~~ `так`", "<del>ні</del> <code>так</code>"),
        ("_a_\n\nb", "<p><em>a</em></p><p>b</p>"),
        ("# Наука", "<h1>Наука</h1>"),
        ("- a\n- b\n  - c", "<ul><li>a</li><li>b<ul><li>c</li></ul></li></ul>"),
        ("1. a\n2. b", "<ol><li>a</li><li>b</li></ol>"),
        ("1986. a", '<ol start="1986"><li>a</li></ol>'),
        ("> цитата\n\nвідповідь", "<blockquote><p>цитата</p></blockquote><p>відповідь</p>"),
        ("a\n\n---\n\nb", "<p>a</p><hr><p>b</p>"),
        (
            "```python\nif a < b:\n    pass\n```",
            '<pre><code class="language-python">if a &lt; b:\n    pass\n</code></pre>',
        ),
        ("```\nx\n```", "<pre><code>x\n</code></pre>"),
        (
            "| a | b |\n|---|---|\n| 1 | **2** |",
            "<table><thead><tr><th>a</th><th>b</th></tr></thead><tbody><tr><td>1</td><td><strong>2</strong></td></tr></tbody></table>",
        ),
        ("[місто](https://daarion.space/a?b&c)", '<a href="https://daarion.space/a?b&amp;c" rel="noopener">місто</a>'),
        ("<https://daarion.space>", '<a href="https://daarion.space" rel="noopener">https://daarion.space</a>'),
        ("<a@b.c>", '<a href="mailto:a@b.c" rel="noopener">a@b.c</a>'),
        # A picture is a link to it; what has no text shows its address.
        ("![кіт](https://a.b/c.png)", '<a href="https://a.b/c.png" rel="noopener">кіт</a>'),
        ("![](https://a.b/c.png)", '<a href="https://a.b/c.png" rel="noopener">https://a.b/c.png</a>'),
        ("[![кіт](https://a.b/c.png)](https://a.b)", '<a href="https://a.b" rel="noopener">кіт</a>'),
        # What may be no link stays as it was written.
        ("*a* [b](javascript:alert(1))", "<em>a</em> [b](javascript:alert(1))"),
        ("*a* [b](/c) x[i](j)", "<em>a</em> [b](/c) x[i](j)"),
        ("*a* <data:x>", "<em>a</em> &lt;data:x&gt;"),
        # HTML in the text is text.
        ("*a* <b>b</b> & <!-- c -->", "<em>a</em> &lt;b&gt;b&lt;/b&gt; &amp; &lt;!-- c --&gt;"),
        ("<div>\nb\n</div>\n\n*a*", "<p>&lt;div&gt;<br>b<br>&lt;/div&gt;</p><p><em>a</em></p>"),
    ],
)
def test_markdown_becomes_the_html_of_a_message(body: str, html: str) -> None:
    assert rendered(body) == html


@pytest.mark.parametrize(
    "body",
    [
        "Привіт",
        "раз\nдва",
        "раз\n\nдва",
        "раз  \nдва",
        "¯\\_(ツ)_/¯",
        "2 * 3 * 4",
        "a_b_c",
        "https://a.b/c_d_e",
        "<b>x</b>",
        "5 > 4",
    ],
)
def test_what_the_plain_text_says_as_well_has_no_html(body: str) -> None:
    assert rendered(body) is None


@pytest.mark.parametrize("body", ["+", "-", "#", ">", "1.", "---", "```\n```", "", " \n"])
def test_a_text_of_which_html_would_show_nothing_has_none(body: str) -> None:
    assert rendered(body) is None


def test_a_text_of_which_html_would_leave_something_out_has_none() -> None:
    assert rendered("**Розклад**\n\n[10:05]: відкриття\n\n[10:05]: перерва") is None


def test_the_html_leaves_room_for_the_text_beside_it() -> None:
    fits = "**" + "я" * 11_000 + "**"
    assert rendered(fits)
    assert rendered("**" + "я" * 12_000 + "**") is None


@pytest.mark.parametrize(
    ("body", "html"),
    [
        ("Привіт, @daarwizz!", f"Привіт, {PILL}!"),
        ("@DaarWizz: як справи?\nга?", f"{PILL}: як справи?<br>га?"),
        ("**@daarwizz**", f"<strong>{PILL}</strong>"),
        ("*a* `@daarwizz`", "<em>a</em> <code>@daarwizz</code>"),
        ("```\n@daarwizz\n```", "<pre><code>@daarwizz\n</code></pre>"),
        ("[@daarwizz](https://a.b)", '<a href="https://a.b" rel="noopener">@daarwizz</a>'),
        ("*a* me@daarwizz @daarwizz.ua@b @nobody", "<em>a</em> me@daarwizz " + PILL + ".ua@b @nobody"),
    ],
)
def test_a_mention_becomes_a_link_to_the_user(body: str, html: str) -> None:
    assert rendered(body, WIZARD) == html


def test_a_display_name_cannot_bring_markup_along() -> None:
    evil = {"x": Pill(UserId('@a"><script>:b/?#'), "<img src=x onerror=alert(1)>\n*b*")}
    assert rendered("@x", evil) == (
        '<a href="https://matrix.to/#/@a%22%3E%3Cscript%3E:b%2F%3F%23" rel="noopener">'
        "&lt;img src=x onerror=alert(1)&gt;<br>*b*</a>"
    )


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ("@daarwizz, @DAARWIZZ та @guardian-1.", ["daarwizz", "guardian-1"]),
        ("(@a) «@b» –@c… *@d* **@e_f**", ["a", "b", "c", "d", "e_f"]),
        ("@alice:example.org. @Bob:hs:8448: hi", ["alice:example.org", "bob:hs:8448"]),
        ("@daarwizz:привіт", ["daarwizz"]),
        ("@room @u_123", ["room", "u_123"]),
        ("@b @a @b", ["b", "a"]),
        ("me@example.org я@a @a@mastodon.social https://a.b/@c @Марія @ @- a/@d", []),
        ("`@a` ``@b`` [@c](https://a.b) <d@e.f>", []),
        ("```\n@a\n```\n\n    @b\n\n@c", ["c"]),
        ("> @a\n\n- @b\n\n|@c|\n|-|\n|@d|", ["b", "c", "d"]),
        ("> > @a\n\n@b", ["b"]),
        ("<div>@a</div>", ["a"]),
    ],
)
def test_names_after_an_at_sign_are_mentions(body: str, names: list[str]) -> None:
    assert mention_names(body) == names


def test_mentions_have_an_end() -> None:
    names = mention_names(" ".join(f"@a{number}" for number in range(1_000)))
    assert names == [f"a{number}" for number in range(MAX_MENTIONS)]


@pytest.mark.parametrize(
    ("html", "clean"),
    [
        ("<b>Привіт</b> 🎉", "<b>Привіт</b> 🎉"),
        ("a < b & c &lt; d <3", "a &lt; b &amp; c &lt; d &lt;3"),
        ("<p>a<p>b", "<p>a</p><p>b</p>"),
        ("<ol start=3><li>a<li>b</ol>", '<ol start="3"><li>a</li><li>b</li></ol>'),
        ("<table><tr><td>a<td>b</table>", "<table><tbody><tr><td>a</td><td>b</td></tr></tbody></table>"),
        ("<b>a<i>b</b>c</i>", "<b>a<i>b</i></b>c"),
        ("<font color=red>a</font> <marquee>b</marquee>", "a b"),
        ("<mx-reply><blockquote><a href='https://a.b'>q</a></blockquote></mx-reply>відповідь", "відповідь"),
        ("<MX-REPLY>q</MX-REPLY>a<mx-reply>q", "a"),
        (
            '<a href="https://matrix.to/#/@u:s" target="_blank" class="x">U</a>',
            '<a href="https://matrix.to/#/@u:s" target="_blank" rel="noopener">U</a>',
        ),
        ("<a href='matrix:u/a:b' target=_top>a</a>", '<a href="matrix:u/a:b" rel="noopener">a</a>'),
        ("<a href=magnet:?xt=a&amp;b>a</a>", '<a href="magnet:?xt=a&amp;b" rel="noopener">a</a>'),
        ("<a href=/relative>a</a><a href=//b>b</a>", '<a rel="noopener">a</a><a rel="noopener">b</a>'),
        (
            '<img src="mxc://a.b/c" alt="кіт" title="t" width="32" height="9em" style="x">',
            '<img src="mxc://a.b/c" alt="кіт" title="t" width="32">',
        ),
        ("a<img src=https://a.b/c.png><img><img src='mxc://a/../b'>", "a"),
        (
            '<span data-mx-spoiler data-mx-color="#ff00FF" data-mx-bg-color="red" style="color:red">a</span>',
            '<span data-mx-color="#ff00FF" data-mx-spoiler="">a</span>',
        ),
        (
            '<div data-mx-maths="a &lt; b" data-x=1>a</div><p data-mx-maths=x>b</p>',
            '<div data-mx-maths="a &lt; b">a</div><p>b</p>',
        ),
        (
            '<code class="a language-py b">x</code><b class="language-py">y</b>',
            '<code class="language-py">x</code><b>y</b>',
        ),
        ("<pre>\n\n\nx\n</pre>", "<pre>x\n</pre>"),
        ("<details><summary>a</summary>b</details>", "<details><summary>a</summary>b</details>"),
    ],
)
def test_html_keeps_what_the_spec_permits(html: str, clean: str) -> None:
    found = sanitised(html)
    assert found is not None
    assert sorted(re.findall(r'[\w-]+="[^"]*"|[^\s]', found)) == sorted(re.findall(r'[\w-]+="[^"]*"|[^\s]', clean))
    assert re.sub(r' [\w-]+="[^"]*"', "", found) == re.sub(r' [\w-]+="[^"]*"', "", clean)


@pytest.mark.parametrize(
    "html", ["", " \n", "<p></p>", "<br><hr>", "<script>x</script>", "<mx-reply>x</mx-reply>", "<!-- x"]
)
def test_html_of_which_nothing_is_left_is_none(html: str) -> None:
    assert sanitised(html) is None


def test_html_that_is_too_deep_or_too_large_is_none() -> None:
    assert sanitised("<div>" * MAX_NESTING + "x") == "<div>" * MAX_NESTING + "x" + "</div>" * MAX_NESTING
    assert sanitised("<div>" * (MAX_NESTING + 1) + "x") is None
    assert sanitised("<b>" * MAX_FORMATTING + "x")
    assert sanitised("<b>" * (MAX_FORMATTING + 1) + "x") is None
    assert sanitised("x" * MAX_HTML_BYTES) == "x" * MAX_HTML_BYTES
    assert sanitised("x" * (MAX_HTML_BYTES + 1)) is None
    assert sanitised("<" * MAX_HTML_BYTES) is None


VECTORS = [
    "<script>alert(1)</script>",
    "<SCRIPT SRC=//a.b/x.js></SCRIPT>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<script/x>alert(1)</script/>",
    "<img src=x onerror=alert(1)>",
    '<img src="mxc://a/b" onerror="alert(1)">',
    "<img/src='mxc://a/b'/onerror=alert(1)>",
    '<img src="mxc://a/b" alt="`" onerror=alert(1) "">',
    '<img alt="<x" title="/><img src=x onerror=alert(1)>" src="mxc://a/b">',
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<svg><style><img src=x onerror=alert(1)></style></svg>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=alert(1)&gt;'>",
    "<math><annotation-xml encoding='text/html'><script>alert(1)</script></annotation-xml></math>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'></noscript>",
    "<textarea><img title='</textarea><img src=x onerror=alert(1)>'>",
    "<a href=javascript:alert(1)>x</a>",
    "<a href='java\tscript:alert(1)'>x</a>",
    "<a href='&#106;avascript:alert(1)'>x</a>",
    "<a href='&#x6A;&#x61;vascript&colon;alert(1)'>x</a>",
    "<a href=' javascript:alert(1)'>x</a>",
    "<a href='\x01javascript:alert(1)'>x</a>",
    "<a href='JaVaScRiPt:alert(1)'>x</a>",
    "<a href=vbscript:x>x</a>",
    "<a href='data:text/html,<script>alert(1)</script>'>x</a>",
    "<a href=\"https://a.b/'onmouseover='alert(1)\">x</a>",
    "<a href='https://a.b/\"onmouseover=\"alert(1)'>x</a>",
    '<a href=https://a.b/x"onmouseover=alert(1)//>x</a>',
    "<b onmouseover=alert(1)>x</b>",
    "<b/onclick=alert(1)//>x</b>",
    '<div style="background:url(javascript:alert(1))">x</div>',
    "<div data-mx-maths='\"><script>alert(1)</script>'>x</div>",
    "<span data-mx-spoiler='\" onclick=\"alert(1)'>x</span>",
    "<code class='language-x\" onclick=\"alert(1)'>x</code>",
    "<iframe src=javascript:alert(1)></iframe>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<object data=javascript:alert(1)><embed src=javascript:alert(1)>",
    "<form action=javascript:alert(1)><button formaction=javascript:alert(1)>x</button></form>",
    "<base href=javascript://><link rel=stylesheet href=//a.b><meta http-equiv=refresh content=0;url=//a.b>",
    "<!--><script>alert(1)</script>-->",
    "<!--<img src='--><img src=x onerror=alert(1)>'>",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<?xml <script>alert(1)</script>?>",
    "<plaintext><script>alert(1)</script>",
    "<xmp><p title='</xmp><img src=x onerror=alert(1)>'>",
    "<details open ontoggle=alert(1)>x</details>",
    "<table background=javascript:alert(1)><td background=javascript:alert(1)>x",
    "<template><script>alert(1)</script></template>",
    "<a x='><script>alert(1)</script>'>x</a>",
    '<a x"><script>alert(1)</script>">x</a>',
    "\0<scr\0ipt>alert(1)</script>",
]


class Seen(HTMLParser):
    """Tags and attributes, as a parser sees them that is not the sanitiser's own."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]


PERMITTED_TAGS = set(
    "del h1 h2 h3 h4 h5 h6 blockquote p a ul ol sup sub li b i u strong em s code hr br div table thead tbody tr th td "  # noqa: SIM905
    "caption pre span img details summary".split()
)
PERMITTED_ATTRIBUTES = {
    "span": {"data-mx-bg-color", "data-mx-color", "data-mx-spoiler", "data-mx-maths"},
    "a": {"target", "href", "rel"},
    "img": {"width", "height", "alt", "title", "src"},
    "ol": {"start"},
    "code": {"class"},
    "div": {"data-mx-maths"},
}


def assert_harmless(html: str | None) -> None:
    seen = Seen(html or "")
    assert seen.tags <= PERMITTED_TAGS
    for tag, name, value in seen.attributes:
        assert name in PERMITTED_ATTRIBUTES[tag]
        if name == "href":
            assert re.match("(https?|ftp|mailto|magnet|matrix):", value.lower())
        if name == "src":
            assert value.startswith("mxc://")


@pytest.mark.parametrize("html", VECTORS)
def test_nothing_that_runs_gets_through(html: str) -> None:
    for text in (html, f"a{html}b", f"<p><b>{html}", f"<table><tr>{html}", f"<pre><code>{html}"):
        assert_harmless(sanitised(text))
        assert_harmless(rendered(f"*a* {text}"))
        assert_harmless(rendered(f"*a* [x]({text}) ![{text}](https://a.b '{text}')"))


PIECES = st.lists(
    st.one_of(
        st.sampled_from([f"<{end}{tag}>" for tag in sorted(PERMITTED_TAGS) for end in ("", "/")]),
        st.sampled_from(VECTORS),
        st.sampled_from(
            ["<", ">", "&", '"', "'", "\n", " ", "&lt;", "&#60;", "<!--", "-->", "<a href='", "<code class=language-x>"]
        ),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    ),
    max_size=30,
).map("".join)


@given(PIECES)
def test_what_was_sanitised_is_harmless_and_stays_as_it_is(html: str) -> None:
    clean = sanitised(html)
    assert_harmless(clean)
    if clean is not None:
        assert sanitised(clean) == clean


SIGNS = [
    "*", "**", "_", "~~", "`", "```", "[", "]", "(", ")", "![", "](", "]:", "<", ">", "#", "-", "+", "1.", "|", "|-|", "@", ":",
    "&", "\\", "@daarwizz", "<b>", "</b>", "<div>", "https://a.b",
]  # fmt: skip
MARKDOWN = st.lists(
    st.one_of(
        st.sampled_from(SIGNS),
        st.sampled_from([" ", "\n", "\n\n", "    ", "> ", "- ", "[x](https://a.b)", "\n|a|b|\n|-|-|\n"]),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    ),
    max_size=40,
).map("".join)


@given(MARKDOWN)
def test_what_was_rendered_is_harmless_fits_and_passes_the_sanitiser_unchanged(body: str) -> None:
    html = rendered(body, WIZARD)
    assert_harmless(html)
    if html is not None:
        assert sanitised(html) == html
        assert len(json.dumps([body, html], ensure_ascii=False).encode()) <= MAX_CONTENT_BYTES


@given(MARKDOWN)
def test_each_name_is_a_mention_once(body: str) -> None:
    names = mention_names(body)
    assert len(set(names)) == len(names)
    assert all(name == name.lower() and f"@{name}" in body.lower() for name in names)


HOSTILE = [
    "[", "![", "[a](", "![](", "[a][", "*", "**a ", "*_~~a", "`", "`a", "> ", ">", "- ", "- - - a\n", "- a\n", "1. > ",
    "<", "<a ", "<!--", "&", "\\", "|-|\n", "a|b\n-|-\n", "[a]: b\n", "[a]: b 'c\n", "a\n===\n", "```\n", "    a\n",
    "@", "@a ", "@a:", "a@", "http://a", "://", "http://a.b/(", "<a@b.c>", "\n", " ", "\t", "🎉", "Ї", "e\u0301", "\0",
]  # fmt: skip


def hostile_bodies() -> list[str]:
    size = MAX_CONTENT_BYTES
    wide = "|" + "a|" * 200 + "\n|" + "-|" * 200 + "\n"
    return [
        *((piece * size).encode()[:size].decode(errors="ignore") for piece in HOSTILE),
        "".join("  " * depth + "- a\n" for depth in range(300)),
        "".join("> " * depth + "a\n" for depth in range(218)),
        "".join("`" * length + " " for length in range(1, 310)),
        "[" * (size // 2) + "]" * (size // 2),
        "[" * (size // 5) + "](b)" * (size // 5),
        wide + "a\n" * ((size - len(wide)) // 2),
        "[a]: b '" + "c" * 20_000 + "'\n\n" + "[a]" * 9_000,
    ]


@pytest.mark.parametrize("body", hostile_bodies(), ids=lambda body: ascii(body[:12]))
def test_no_text_holds_up_the_city(body: str) -> None:
    begun = time.process_time()
    html = rendered(body, WIZARD)
    mention_names(body)
    without_reply_fallback(body)
    sanitised(body)
    assert time.process_time() - begun < 3 * SLOW_S
    assert_harmless(html)


FORMATTING = "".join(f"<code class=language-{number}>" for number in range(MAX_FORMATTING - 1))


@pytest.mark.parametrize(
    "piece",
    ["<b>", "<p>", "<b></p>", "<ul><li>", "<p><b>", "<table>", "<table><td>", "<details>", "<pre>\n", "<a ", "<a '", "<!",
     "<script ", "<mx-reply>", "</", "<br>", "<p>x</p>", "<td>x", "<tr>x</tr>", "<li>x", "</p>x", "<div>x</div>"],
)  # fmt: skip
@pytest.mark.parametrize("before", ["", "<p>", "<table>", "<table><tr>", "<ul><li>"])
def test_no_html_holds_up_the_city_or_grows(before: str, piece: str) -> None:
    for html in (before + piece * 65_536, before + FORMATTING + piece * 65_536):
        begun = time.process_time()
        clean = sanitised(html[:MAX_HTML_BYTES])
        assert time.process_time() - begun < SLOW_S
        assert len(clean or "") <= MAX_HTML_BYTES


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
def test_the_quotation_that_replies_began_with_goes(body: str, text: str) -> None:
    assert without_reply_fallback(body) == text
