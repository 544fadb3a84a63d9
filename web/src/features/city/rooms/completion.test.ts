import { describe, expect, it } from "vitest";
import { completed, matching, triggerAt, type Candidate } from "./completion";

const at = (text: string, caret = text.length) => {
  const trigger = triggerAt(text, caret);
  return trigger && `${trigger.sign}${trigger.query}`;
};

const candidate = (label: string, detail = ""): Candidate => ({ id: label, label, detail, insert: `@${label}`, picture: null });

describe("a trigger of completion", () => {
  it("is found for people, rooms, emojis and commands at the caret", () => {
    expect(at("Привіт @Тар")).toBe("@Тар");
    expect(at("(#нау")).toBe("#нау");
    expect(at("дякую :sun")).toBe(":sun");
    expect(at("/m")).toBe("/m");
    expect(at("@Тарас, як справи", 3)).toBe("@Та");
    expect(at("@Тарас Шев")).toBe("@Тарас Шев");
  });

  it("is not found in addresses, smileys, times or commands in a sentence", () => {
    expect(at("olena@example")).toBeNull();
    expect(at("гарно :)")).toBeNull();
    expect(at("о 12:30")).toBeNull();
    expect(at("або /me")).toBeNull();
    expect(at("@Тарас, іди сюди")).toBeNull();
  });
});

describe("candidates", () => {
  const people = [candidate("Головко Ніна"), candidate("Тарас Головко"), candidate("Варта", "агент голова"), candidate("Іван")];

  it("match each word of a name, the first word first", () => {
    expect(matching(people, "ГОЛ").map(({ label }) => label)).toEqual(["Головко Ніна", "Тарас Головко", "Варта"]);
    expect(matching(people, "", 2)).toHaveLength(2);
  });

  it("replace the trigger, with one space after them", () => {
    const text = "Гей @Тар як?";
    const trigger = triggerAt(text, 8);
    expect(trigger && completed(text, trigger, candidate("Тарас"))).toEqual({ text: "Гей @Тарас як?", caret: 11 });
  });
});
