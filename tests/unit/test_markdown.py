"""Markdown of citizens and agents: rendered as HTML, with mentions, in linear time."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given

from daarion_appservice.city.html_sanitizing import sanitize_html
from daarion_appservice.city.markdown import MAX_MENTIONS, mention_names
from daarion_appservice.city.markdown_rendering import MAX_CONTENT_BYTES, Pill, render_markdown
from daarion_appservice.city.reply_fallback import strip_reply_fallback
from daarion_appservice.city.types import UserId
from tests.parts.hostile_html import MARKDOWN, VECTORS, assert_harmless

WIZARD = {"daarwizz": Pill(UserId("@agent_daarwizz:city.localhost"), "DAARWIZZ")}
PILL = '<a href="https://matrix.to/#/@agent_daarwizz:city.localhost" rel="noopener">DAARWIZZ</a>'
SLOW_S = 1.0
"""Each case takes at most 50 ms of processor time; in parsers that are not linear, 3 s and more."""


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
def test_markdown_is_rendered_as_html(body: str, html: str) -> None:
    assert render_markdown(body) == html


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
def test_text_without_markup_has_no_html(body: str) -> None:
    assert render_markdown(body) is None


@pytest.mark.parametrize("body", ["+", "-", "#", ">", "1.", "---", "```\n```", "", " \n"])
def test_text_whose_html_is_invisible_has_none(body: str) -> None:
    assert render_markdown(body) is None


def test_text_with_link_definition_has_no_html() -> None:
    assert render_markdown("**Розклад**\n\n[10:05]: відкриття\n\n[10:05]: перерва") is None


def test_html_and_text_size_is_limited() -> None:
    fits = "**" + "я" * 11_000 + "**"
    assert render_markdown(fits)
    assert render_markdown("**" + "я" * 12_000 + "**") is None


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
def test_mention_is_rendered_as_pill(body: str, html: str) -> None:
    assert render_markdown(body, WIZARD) == html


def test_display_name_in_pill_is_escaped() -> None:
    evil = {"x": Pill(UserId('@a"><script>:b/?#'), "<img src=x onerror=alert(1)>\n*b*")}
    assert render_markdown("@x", evil) == (
        '<a href="https://matrix.to/#/@a%22%3E%3Cscript%3E:b%2F%3F%23" rel="noopener">'
        "&lt;img src=x onerror=alert(1)&gt;<br>*b*</a>"
    )


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ("@daarwizz, @DAARWIZZ та @guardian-1.", ["daarwizz", "guardian-1"]),
        ("(@a) «@b» –@c… *@d* **@e_f**", ["a", "b", "c", "d", "e_f"]),
        ("@alice:example.org. @Bob:hs:8448: hi", ["alice:example.org", "Bob:hs:8448"]),
        ("@🛒:example.org @❤️x:hs, @імя:hs, @a🎉 @b—c:hs", ["🛒:example.org", "❤️x:hs", "імя:hs", "a", "b"]),
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
def test_mention_names_are_found(body: str, names: list[str]) -> None:
    assert mention_names(body) == names


def test_mention_names_are_limited() -> None:
    names = mention_names(" ".join(f"@a{number}" for number in range(1_000)))
    assert names == [f"a{number}" for number in range(MAX_MENTIONS)]


@pytest.mark.parametrize("html", VECTORS)
def test_html_in_markdown_is_text(html: str) -> None:
    for text in (html, f"a{html}b", f"<p><b>{html}", f"<table><tr>{html}", f"<pre><code>{html}"):
        assert_harmless(render_markdown(f"*a* {text}"))
        assert_harmless(render_markdown(f"*a* [x]({text}) ![{text}](https://a.b '{text}')"))


@given(MARKDOWN)
def test_rendered_html_is_harmless_and_stable(body: str) -> None:
    html = render_markdown(body, WIZARD)
    assert_harmless(html)
    if html is not None:
        assert sanitize_html(html) == html
        assert len(json.dumps([body, html], ensure_ascii=False).encode()) <= MAX_CONTENT_BYTES


@given(MARKDOWN)
def test_mention_names_are_unique(body: str) -> None:
    names = mention_names(body)
    assert len(set(names)) == len(names)
    assert all(f"@{name}" in (body if ":" in name else body.lower()) for name in names)


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
def test_hostile_text_is_parsed_in_bounded_time(body: str) -> None:
    begun = time.process_time()
    html = render_markdown(body, WIZARD)
    mention_names(body)
    strip_reply_fallback(body)
    sanitize_html(body)
    assert time.process_time() - begun < 3 * SLOW_S
    assert_harmless(html)
