import { describe, expect, it } from "vitest";
import { filterOf, highlighted, searchParamsOf, searchOf } from "./searchAddress";

const parse = (query: string) => searchOf(new URLSearchParams(query));

describe("the address of a search", () => {
  it("has the search, and no empty parameters", () => {
    const search = { q: " фунікулер ", room: "podil", author: "", after: "2026-11-01", before: "" };
    const params = searchParamsOf(search);
    expect(Object.fromEntries(params)).toEqual({ q: "фунікулер", room: "podil", after: "2026-11-01" });
    expect(searchOf(params)).toEqual({ ...search, q: "фунікулер" });
  });

  it("filters by whole local days", () => {
    const { after, before } = filterOf(parse("q=a&after=2026-11-01&before=2026-11-30"));
    expect(after).toBe(new Date(2026, 10, 1).toISOString());
    expect(before).toBe(new Date(2026, 11, 1).toISOString());
  });

  it("ignores an invalid day", () => {
    expect(filterOf(parse("q=a&after=yesterday&before=2026-99-99"))).toEqual({});
  });
});

describe("highlighted", () => {
  it("splits the text at the matches", () => {
    expect(highlighted("👋 фунікулер їде", [[3, 12]])).toEqual([
      { text: "👋 ", isFound: false },
      { text: "фунікулер", isFound: true },
      { text: " їде", isFound: false },
    ]);
  });

  it("ignores ranges outside of the text", () => {
    expect(highlighted("їде", [[0, 9]])).toEqual([{ text: "їде", isFound: false }]);
  });
});
