import { describe, expect, it } from "vitest";
import { token } from "../testing/samples";
import { isSignInExpected, readToken, signInAddress, extractSignInToken } from "./session";

const NOW = Date.parse("2026-11-22T12:00:00Z");
const SOON = NOW / 1000 + 3600;

describe("a citizen's token", () => {
  it("is decoded as UTF-8", () => {
    const session = readToken(token({ sub: "u_1", name: "Оксана Їжак 🌻", exp: SOON }), NOW);
    expect(session).toMatchObject({ userId: "u_1", displayName: "Оксана Їжак 🌻", expiresAt: SOON * 1000 });
  });

  it("falls back to the user name and the id", () => {
    expect(readToken(token({ sub: "u_1", preferred_username: "oksana", name: "", exp: SOON }), NOW)?.displayName).toBe("oksana");
    expect(readToken(token({ sub: "u_1", exp: SOON }), NOW)?.displayName).toBe("u_1");
  });

  it.each([
    ["expired", token({ sub: "u_1", exp: NOW / 1000 })],
    ["without a subject", token({ exp: SOON })],
    ["without an end", token({ sub: "u_1" })],
    ["no token", "a.b.c"],
    ["nothing", ""],
  ])("is rejected when it is %s", (_what, found) => {
    expect(readToken(found, NOW)).toBeNull();
  });
});

describe("the return from the sign-in page", () => {
  it("removes the token from the address", () => {
    expect(extractSignInToken("https://city.example/city/general?a=1#token=abc")).toEqual({
      token: "abc",
      href: "https://city.example/city/general?a=1",
    });
    expect(extractSignInToken("https://city.example/#below")).toEqual({ token: null, href: "https://city.example/#below" });
  });

  it.each([
    ["a moment ago", String(NOW - 1_000), true],
    ["never: somebody else made the link", null, false],
    ["long ago", String(NOW - 31 * 60_000), false],
    ["in the future", String(NOW + 1_000), false],
    ["at no time", "x", false],
  ])("is accepted when this tab requested it %s", (_when, leftAt, counts) => {
    expect(isSignInExpected(leftAt, NOW)).toBe(counts);
  });

  it("names the page to return to", () => {
    expect(signInAddress("https://auth.example/login?x=1", "https://city.example/city/general")).toBe(
      "https://auth.example/login?x=1&return_to=https%3A%2F%2Fcity.example%2Fcity%2Fgeneral",
    );
  });
});
