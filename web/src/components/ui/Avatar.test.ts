import { describe, expect, test } from "vitest";
import vectors from "../../testing/avatars.json";
import { colorOf, hashOf, initials, isLight } from "./Avatar";

/** The service draws the same avatars for Matrix (`city/avatars.py`); its tests read the same values. */
describe("avatars", () => {
  test.each(vectors.colors)("the color of '$name' is as the service draws it", ({ name, hash, hue }) => {
    expect(hashOf(name)).toBe(hash);
    expect(colorOf(name)).toBe(`oklch(48% 0.1 ${hue})`);
  });

  test.each(vectors.initials)("the initials of '$name' are as the service draws them", ({ name, initials: expected }) => {
    expect(initials(name)).toBe(expected);
  });

  test.each(vectors.light)("dark letters on $color: $isLight", ({ color, isLight: expected }) => {
    expect(isLight(color)).toBe(expected);
  });
});
