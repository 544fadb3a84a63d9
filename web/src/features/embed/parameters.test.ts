import { describe, expect, it } from "vitest";
import { embedParameters, textOn } from "./parameters";

const parse = (query: string) => embedParameters(`https://city.example/embed/general?${query}`);

describe("embedParameters", () => {
  it("reads what widget.js writes", () => {
    const query = new URLSearchParams({ host: "https://shop.example", theme: "dark", lang: "uk", accent: "#2c557a" });
    expect(parse(String(query))).toEqual({
      hostOrigin: "https://shop.example",
      theme: "dark",
      language: "uk",
      accent: "#2c557a",
    });
  });

  it("ignores invalid values", () => {
    expect(parse("host=shop&theme=red&accent=red;}")).toEqual({
      hostOrigin: null,
      theme: "system",
      language: null,
      accent: null,
    });
  });
});

describe("textOn", () => {
  it.each([
    ["#ffffff", "#000000"],
    ["#000000", "#ffffff"],
    ["#ffd400", "#000000"],
    ["#2c557a", "#ffffff"],
  ])("%s has text in %s", (accent, text) => expect(textOn(accent)).toBe(text));
});
