import { describe, expect, it } from "vitest";
import { addRecentEmoji, recentEmojis } from "./recentEmojis";
import { emojiData, loadEmojis, type EmojiRow } from "./emojiData";

const WAVE: EmojiRow = ["👋", "wave waving_hand", "рука махає", 1, "bye привіт", "👋🏻 👋🏼 👋🏽 👋🏾 👋🏿"];
const OTHER_WAVE: EmojiRow = ["🌊", "wave water_wave", "рука махає", 5, "sea море"];

describe("the emojis of the picker", () => {
  it("have names in the reader's language, and tags of both", () => {
    const [english] = emojiData([WAVE], "en").emojis;
    const [ukrainian] = emojiData([WAVE], "uk").emojis;
    expect([english?.label, ukrainian?.label]).toEqual(["wave", "рука махає"]);
    for (const word of ["waving_hand", "рука махає", "bye привіт"]) {
      expect(english?.tags).toContain(word);
      expect(ukrainian?.tags).toContain(word);
    }
  });

  it("have the five skin tones of their row", () => {
    expect(emojiData([WAVE], "en").emojis[0]?.skins).toMatchObject({ light: "👋🏻", dark: "👋🏿" });
    expect(emojiData([OTHER_WAVE], "en").emojis[0]).not.toHaveProperty("skins");
  });

  it("have different names in each language", async () => {
    expect(emojiData([WAVE, OTHER_WAVE], "uk").emojis.map(({ label }) => label)).toEqual(["рука махає", "рука махає 🌊"]);
    for (const language of ["uk", "en"] as const) {
      const { emojis, categories } = await loadEmojis(language);
      expect(emojis.length).toBeGreaterThan(1_800);
      expect(new Set(emojis.map(({ label }) => label)).size).toBe(emojis.length);
      const groups = new Set(categories.map(({ index }) => index));
      expect(emojis.filter(({ category }) => !groups.has(category))).toEqual([]);
    }
  });
});

describe("recent emojis", () => {
  it("belong to one person, the newest first, each once", () => {
    for (const emoji of ["🔥", "🌻", "🔥"]) addRecentEmoji("u_1", emoji);
    expect(recentEmojis("u_1")).toEqual(["🔥", "🌻"]);
    expect(recentEmojis("u_2")).toEqual([]);
  });
});
