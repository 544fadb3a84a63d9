import { describe, expect, it } from "vitest";
import { isolated, plainName } from "./names";

describe("a name", () => {
  it("is displayed in its own direction", () => {
    expect(plainName("N\u202egpj.exe")).toBe("Ngpj.exe");
    expect(plainName("\u2067abc\u2069\u200f\u061c\u202a")).toBe("abc");
    expect(plainName("Оксана 👩‍🚀 דנה")).toBe("Оксана 👩‍🚀 דנה");
  });

  it("is isolated if its direction differs", () => {
    expect(isolated("דנה")).toBe("\u2068דנה\u2069");
    expect(isolated("سارة\u202e")).toBe("\u2068سارة\u2069");
    expect(isolated("Оксана")).toBe("Оксана");
  });
});
