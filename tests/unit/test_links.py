"""Addresses and identifiers in messages: nothing in them is markup, and bare addresses are links."""

from __future__ import annotations

import time

import pytest

from daarion_appservice.city.links import identifiers, links
from daarion_appservice.city.markdown import mention_names
from daarion_appservice.city.markdown_rendering import render_markdown


def link(address: str) -> str:
    return f'<a href="{address}" rel="noopener">{address}</a>'


@pytest.mark.parametrize(
    "address",
    [
        "https://example.org/_a_/b",
        "https://example.org/__init__.py",
        "https://example.org/~user~",
        "https://example.org/~~user~~/x",
        "https://example.org/x*y*z",
        "https://example.org/**/z",
        "https://en.wikipedia.org/wiki/Foo_(bar)",
        "https://en.wikipedia.org/wiki/Foo_(bar)_(baz)",
        "https://приклад.укр/_а_/б",
        "https://example.org/a?b=_c_#_d_",
        "http://[::1]:8080/_a_",
        "ftp://example.org/_a_/b",
        "mailto:a_b_@example.org",
        "matrix:r/_a_:example.org",
    ],
)
@pytest.mark.parametrize("text", ["*x* {}", "{} *x*", "*x* ({})", "*x* {}, далі", "*x* «{}».", "*x*\n{}\n", "- {}"])
def test_bare_address_is_a_link(address: str, text: str) -> None:
    html = render_markdown(text.format(address))
    assert html is not None
    assert link(address) in html


@pytest.mark.parametrize(
    "text",
    [
        "https://example.org/_a_/b",
        "https://example.org/~user~",
        "@a_b_c:server @_a_:example.org",
        "#_general_:example.org",
        "!_room_:example.org $_event_:example.org",
        "_a_@example.org a_b_@example.org",
        "mxc://example.org/a_b_ x",
        "__init__.py",
        "src/__init__.py і tests/_a_/b.py",
        "/etc/_a_/b ~/_a_/b ./_a_/b ../_a_/b",
        "src/*.py test/*.py",
        "snake_case_name and __dunder_name",
        "_config_.yml",
        "www.example.org/_a_",
        "geo://x/_a_",
        "git@example.org:_a_/b_c_.git git@github.com:x/_y_",
        "localhost:8080/_a_/b 10.0.0.1:80/_a_ example.org:443/*a*/b*",
        "$HOME/_a_/b ${HOME}/*a*/b* %APPDATA%/_a_",
        "__pycache__/x.pyc src/__tests__/a.ts __a_b__/c",
        "C:/_a_/b",
        r"C:\Users\__me__\_x_.txt D:\_a_\b",
        r"\\host\share\__x__",
        "path=/a/__b__/c --path=/a/__b__/c {/a/_b_/c} „/a/_b_/c“",
        "файл:__init__.py,__main__.py",
        "self.__class__.__name__ obj.__dict__",
        "@types/__x__ npm:@scope/_pkg_",
    ],
)
def test_identifier_is_no_markup(text: str) -> None:
    assert render_markdown(text) is None


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("**https://example.org/a**", f"<strong>{link('https://example.org/a')}</strong>"),
        ("_https://example.org/a_", f"<em>{link('https://example.org/a')}</em>"),
        ("~~https://example.org/a~~", f"<del>{link('https://example.org/a')}</del>"),
        ("_me@example.org_", "<em>me@example.org</em>"),
        ("_https://example.org/_a_/b_", f"<em>{link('https://example.org/_a_/b')}</em>"),
        ("__https://example.org/__a__/b__", f"<strong>{link('https://example.org/__a__/b')}</strong>"),
        ("_/usr/lib/_a_/b_", "<em>/usr/lib/_a_/b</em>"),
        ("_a/__init__.py_", "<em>a/__init__.py</em>"),
        ("_@a_b_:example.org_", "<em>@a_b_:example.org</em>"),
        ("a:_b_ c=_d_ {_e_}", "a:<em>b</em> c=<em>d</em> {<em>e</em>}"),
        (r"a:\*b\* *c*", "a:*b* <em>c</em>"),
        ("*a*/*b*", "<em>a</em>/<em>b</em>"),
        ("__a__ b/c", "<strong>a</strong> b/c"),
        ("me@example.org: *a*", "me@example.org: <em>a</em>"),
        ("me@example.org:*a*", "me@example.org:<em>a</em>"),
        ("10:30 *a*/b", "10:30 <em>a</em>/b"),
        ("$5 *a*", "$5 <em>a</em>"),
        ("_a_ __b__ *c*", "<em>a</em> <strong>b</strong> <em>c</em>"),
        ("**fett**: text", "<strong>fett</strong>: text"),
        ("*this and/or*", "<em>this and/or</em>"),
        ("~~and/or~~", "<del>and/or</del>"),
        ("`https://example.org/_a_`", "<code>https://example.org/_a_</code>"),
        ("    https://example.org/_a_", "<pre><code>https://example.org/_a_</code></pre>"),
        ("```\n__init__.py\n```", "<pre><code>__init__.py\n</code></pre>"),
        ("Їжак `a/_b_` /a/_b_", "Їжак <code>a/_b_</code> /a/_b_"),
        ("[a_b](https://example.org/_a_)", '<a href="https://example.org/_a_" rel="noopener">a_b</a>'),
        ("<https://example.org/_a_>", link("https://example.org/_a_")),
        (r"*x* \_a\_", "<em>x</em> _a_"),
        ("*x* javascript://a/_b_", "<em>x</em> javascript://a/_b_"),
    ],
)
def test_markup_around_an_address_is_markup(text: str, html: str) -> None:
    assert render_markdown(text) == html


@pytest.mark.parametrize("sign", ["\u202e", "\u2066", "\u200f"])
def test_address_ends_at_bidi_control(sign: str) -> None:
    assert (
        render_markdown(f"*x* https://example.org/{sign}gnp.exe")
        == f"<em>x</em> {link('https://example.org/')}{sign}gnp.exe"
    )


@pytest.mark.parametrize("address", ["https://x.org/#@a", "https://x.org/?b&@a", "https://x.org/(@a)", "mailto:b(@a@c"])
def test_mention_in_an_address_is_none(address: str) -> None:
    assert mention_names(f"{address} @b") == ["b"]


def test_mention_with_combining_marks_is_found() -> None:
    assert mention_names("питає @_a_:example.org") == ["_a_:example.org"]


@pytest.mark.parametrize(
    "unit",
    [
        "https://a)",
        ")",
        "_",
        "a_",
        "a/",
        "@",
        "www.",
        "https://",
        "a.a_",
        "-_",
        "x@",
        "(a_",
        "@a",
        "a://",
        "#a:",
        "~",
        "*a",
        "a:1",
        "a:1/",
        "$a",
        "${a",
        "%a",
        "__a",
        "__a__/",
        "a@b.c:",
        "_a/",
        "=a/",
        "=@",
        "a.__a",
        "a:\\a",
        "\\\\a",
    ],
)
def test_hostile_text_is_read_in_linear_time(unit: str) -> None:
    def seconds(size: int) -> float:
        text = (unit * size)[:size]
        began = time.process_time()
        list(identifiers(text))
        list(links("https://a" + text))
        return time.process_time() - began

    assert seconds(48_000) < 40 * max(seconds(4_800), 0.005)


@pytest.mark.parametrize("sigil", "@#!$+")
def test_run_of_sigils_is_scanned_once(sigil: str) -> None:
    def seconds() -> float:
        began = time.process_time()
        list(identifiers(sigil * 48_000))
        return time.process_time() - began

    # A search in which each sigil starts an identifier of 255 characters takes 70 ms, in which no other task runs.
    assert min(seconds() for _ in range(3)) < 0.04
