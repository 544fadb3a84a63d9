import { describe, expect, it } from "vitest";
import cases from "../testing/excerpts.json";
import { excerptOf } from "./excerpt";

describe("an excerpt", () => {
  // tests/unit/test_excerpts.py checks the same cases.
  it.each(cases)("of $html is $text", ({ html, text }) => {
    expect(excerptOf({ body: "as it was written", formatted_body: html })).toBe(text);
  });

  it("of plain text is the text", () => {
    expect(excerptOf({ body: "2 * 3 * 4 <> 5", formatted_body: null })).toBe("2 * 3 * 4 <> 5");
  });

  it("of markup without text is the body", () => {
    expect(excerptOf({ body: "…", formatted_body: "<hr>" })).toBe("…");
  });
});
