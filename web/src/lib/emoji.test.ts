import { describe, expect, it } from "vitest";
import { isEmojiOnly, WITHOUT_STRING_PROPERTIES } from "./emoji";

const LARGE = ["👍", "👍 👍", "🇺🇦", "1️⃣", "👨‍👩‍👧‍👦", "👩🏽‍🚀", "❤️", "🏴󠁧󠁢󠁷󠁬󠁳󠁿", "🏳️‍🌈", " 🌻 ", "☝🏿", "👍\n🇺🇦", "👁️‍🗨️"];
const SMALL = ["", " ", "© 2024", "10 👍", "123 👍", "👍!", "1", "#", "🇺", "ok 👍", "®", "™ 🌻", "👍".repeat(13), "a👍"];

describe.each([
  ["with properties of strings", isEmojiOnly],
  ["without them", (text: string) => WITHOUT_STRING_PROPERTIES.test(text)],
])("emoji alone, %s", (_, isAlone) => {
  it.each(LARGE)("%s is shown large", (text) => expect(isAlone(text)).toBe(true));
  it.each(SMALL)("%s is shown as text", (text) => expect(isAlone(text)).toBe(false));
});
