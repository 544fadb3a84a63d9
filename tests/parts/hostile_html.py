"""Hostile HTML and Markdown, and a check of HTML by a parser other than the sanitizer's."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from hypothesis import strategies as st

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
    """The tags and attributes that Python's HTML parser sees."""

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
