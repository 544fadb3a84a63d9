import { render } from "@testing-library/react";
import { describe, expect, it } from "vitest";
import { linkedText, richText } from "./richText";

const shown = (html: string) => render(<div>{richText(html)}</div>).container.firstElementChild?.innerHTML;

describe("formatted text", () => {
  it("keeps the tags of the Matrix specification", () => {
    expect(shown("<p>a <b>b</b><br>c</p><ul><li>d</li></ul>")).toBe(
      '<p dir="auto">a <b>b</b><br>c</p><ul><li dir="auto">d</li></ul>',
    );
  });

  it("removes scripts, handlers and styles", () => {
    expect(
      shown('<script>x()</script><b onclick="x()" style="position:fixed">a</b><object data="/"></object><svg><a>b</a></svg>'),
    ).toBe("<b>a</b>b");
    expect(shown('<a href="javascript:x()">a</a>')).toBe("a");
    expect(shown('<img src="https://elsewhere.example/p.png" alt="dot">')).toBe("dot");
    expect(shown("<mx-reply>quoted</mx-reply>said")).toBe("said");
  });

  it("opens links in a new tab, and shows images of the city", () => {
    expect(shown('<a href="https://a.example">a</a>')).toContain('rel="noopener noreferrer nofollow"');
    expect(shown('<img src="/city/media/s/id" alt="x">')).toContain('src="/city/media/s/id"');
  });

  it("shows custom emoji in the line's height, or their names", () => {
    const emoji = '<img data-mx-emoticon="" src="/city/media/s/id" alt=":cat:" height="512">';
    expect(shown(emoji)).toContain("height: 1.4em");
    expect(shown(emoji)).toContain('alt=":cat:"');
    expect(shown('<img data-mx-emoticon="" src="https://x.example/c.png" title=":cat:">')).toBe(":cat:");
  });

  it("drops colours, and keeps the language of code", () => {
    expect(shown('<font color="#f00">a</font><span data-mx-color="#ff0000">b</span>')).toBe("a<span>b</span>");
    expect(shown('<pre><code class="language-rust evil">x</code></pre>')).toBe('<pre><code class="language-rust">x</code></pre>');
  });

  it("lowers the levels of headings", () => {
    expect(shown("<h1>a</h1><h2>b</h2>")).toBe('<p dir="auto"><strong>a</strong></p><p dir="auto"><strong>b</strong></p>');
  });

  it("links URLs outside code", () => {
    expect(shown("<p>see https://a.example/x_(y)</p>")).toContain('<a href="https://a.example/x_(y)"');
    expect(shown("<pre><code>https://a.example</code></pre>")).toBe("<pre><code>https://a.example</code></pre>");
    expect(shown('<a href="https://a.example">https://b.example</a>')?.match(/<a /g)).toHaveLength(1);
  });

  it("wraps tables for scrolling", () => {
    expect(shown("<table><tbody><tr><td>a</td></tr></tbody></table>")).toBe(
      '<div><table><tbody><tr><td dir="auto">a</td></tr></tbody></table></div>',
    );
  });
});

describe("plain text", () => {
  it("links URLs without the punctuation after them", () => {
    const { container } = render(<p>{linkedText("see https://a.example/x?y=1. And (http://b.example)!")}</p>);
    expect(Array.from(container.querySelectorAll("a"), (a) => a.getAttribute("href"))).toEqual([
      "https://a.example/x?y=1",
      "http://b.example",
    ]);
    expect(container.textContent).toBe("see https://a.example/x?y=1. And (http://b.example)!");
  });
});
