"""HTML from Matrix is sanitized to the permitted tags and attributes, in linear time."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daarion_appservice.city.html_sanitizing import MAX_FORMATTING, MAX_HTML_BYTES, MAX_NESTING, sanitize_html
from tests.parts.hostile_html import PERMITTED_TAGS, VECTORS, assert_harmless

SLOW_S = 1.0
"""Each case takes at most 50 ms of processor time; in parsers that are not linear, 3 s and more."""


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
def test_permitted_html_remains(html: str, clean: str) -> None:
    found = sanitize_html(html)
    assert found is not None
    assert sorted(re.findall(r'[\w-]+="[^"]*"|[^\s]', found)) == sorted(re.findall(r'[\w-]+="[^"]*"|[^\s]', clean))
    assert re.sub(r' [\w-]+="[^"]*"', "", found) == re.sub(r' [\w-]+="[^"]*"', "", clean)


@pytest.mark.parametrize(
    "html", ["", " \n", "<p></p>", "<br><hr>", "<script>x</script>", "<mx-reply>x</mx-reply>", "<!-- x"]
)
def test_html_without_visible_content_is_none(html: str) -> None:
    assert sanitize_html(html) is None


def test_html_beyond_bounds_is_none() -> None:
    assert sanitize_html("<div>" * MAX_NESTING + "x") == "<div>" * MAX_NESTING + "x" + "</div>" * MAX_NESTING
    assert sanitize_html("<div>" * (MAX_NESTING + 1) + "x") is None
    assert sanitize_html("<b>" * MAX_FORMATTING + "x")
    assert sanitize_html("<b>" * (MAX_FORMATTING + 1) + "x") is None
    assert sanitize_html("x" * MAX_HTML_BYTES) == "x" * MAX_HTML_BYTES
    assert sanitize_html("x" * (MAX_HTML_BYTES + 1)) is None
    assert sanitize_html("<" * MAX_HTML_BYTES) is None


@pytest.mark.parametrize("html", VECTORS)
def test_scripts_are_removed(html: str) -> None:
    for text in (html, f"a{html}b", f"<p><b>{html}", f"<table><tr>{html}", f"<pre><code>{html}"):
        assert_harmless(sanitize_html(text))


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
def test_sanitized_html_is_harmless_and_stable(html: str) -> None:
    clean = sanitize_html(html)
    assert_harmless(clean)
    if clean is not None:
        assert sanitize_html(clean) == clean


FORMATTING = "".join(f"<code class=language-{number}>" for number in range(MAX_FORMATTING - 1))


@pytest.mark.parametrize(
    "piece",
    ["<b>", "<p>", "<b></p>", "<ul><li>", "<p><b>", "<table>", "<table><td>", "<details>", "<pre>\n", "<a ", "<a '", "<!",
     "<script ", "<mx-reply>", "</", "<br>", "<p>x</p>", "<td>x", "<tr>x</tr>", "<li>x", "</p>x", "<div>x</div>"],
)  # fmt: skip
@pytest.mark.parametrize("before", ["", "<p>", "<table>", "<table><tr>", "<ul><li>"])
def test_hostile_html_is_sanitized_in_bounded_time(before: str, piece: str) -> None:
    for html in (before + piece * 65_536, before + FORMATTING + piece * 65_536):
        begun = time.process_time()
        clean = sanitize_html(html[:MAX_HTML_BYTES])
        assert time.process_time() - begun < SLOW_S
        assert len(clean or "") <= MAX_HTML_BYTES
