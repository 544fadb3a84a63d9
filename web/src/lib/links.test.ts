import { describe, expect, it } from "vitest";
import { splitLinks } from "./links";

const linksOf = (text: string) =>
  splitLinks(text)
    .filter(({ isLink }) => isLink)
    .map((part) => part.text);

describe("URLs in a text", () => {
  it.each([
    ["https://en.wikipedia.org/wiki/Foo_(bar)", "https://en.wikipedia.org/wiki/Foo_(bar)"],
    ["(see https://en.wikipedia.org/wiki/Foo_(bar))", "https://en.wikipedia.org/wiki/Foo_(bar)"],
    ["(http://b.example)!", "http://b.example"],
    ["see https://a.example/x?y=1. And", "https://a.example/x?y=1"],
    ["«https://a.example/шлях»", "https://a.example/шлях"],
    ["“https://a.example”…", "https://a.example"],
    ["https://a.example/[1]", "https://a.example/[1]"],
    ["[https://a.example/1]", "https://a.example/1"],
    ["HTTPS://A.example/?q=a,b;c:d", "HTTPS://A.example/?q=a,b;c:d"],
    ["https://example.org/__init__.py, https", "https://example.org/__init__.py"],
    ["<https://a.example>", "https://a.example"],
    ["https://a.example/~user~ or", "https://a.example/~user~"],
    ["https://a.example/_a_.", "https://a.example/_a_"],
    ["*https://a.example/*x*", "https://a.example/*x"],
    ["_https://a.example/_a_/b_", "https://a.example/_a_/b"],
    ["https://a.example/a_", "https://a.example/a"],
    ["**https://a.example**", "https://a.example"],
    ["write to mailto:a.b@example.org.", "mailto:a.b@example.org"],
    ["(matrix:r/room_x:example.org)", "matrix:r/room_x:example.org"],
    ["https://a.example/\u202egnp.exe", "https://a.example/"],
    ["https://a.example/x\u2066y", "https://a.example/x"],
  ])("%s", (text, address) => {
    expect(linksOf(text)).toEqual([address]);
    expect(
      splitLinks(text)
        .map((part) => part.text)
        .join(""),
    ).toBe(text);
  });

  it.each([")", ".", "_", "(]"])("are found in a long run of %s in linear time", (unit) => {
    const text = "https://a.example/" + unit.repeat(24_000);
    const start = performance.now();
    expect(linksOf(text)).toHaveLength(1);
    // Linear: under 0.1 s. Quadratic: 15 s.
    expect(performance.now() - start).toBeLessThan(3_000);
  });

  it.each([
    "https://",
    "http://...",
    "ftp://a.example",
    "mailto:a",
    "mailto:@b",
    "xmailto:a@b",
    "matrix:",
    "matrix: r/",
    "http:/a",
    "(https://)",
    "",
  ])("no URL in %s", (text) => {
    expect(linksOf(text)).toEqual([]);
    expect(
      splitLinks(text)
        .map((part) => part.text)
        .join(""),
    ).toBe(text);
  });
});
