import { describe, expect, it } from "vitest";
import { problemOf } from "../api/problem";
import { initials, isLight } from "../components/ui/Avatar";
import { BUILDINGS, windows } from "../features/home/illustrationGeometry";
import en from "./en";
import uk from "./uk";
import { createTranslator, preferredLanguage } from "../lib/i18n";
import { roomLink, userLink } from "../lib/matrixLinks";
import { widgetParameters } from "../lib/matrixWidget";
import { relativeTime, formatDay, formatTime } from "../lib/formatTime";

/** The keys of texts without their plural forms: `home.people` for `home.people_few`. */
function keys(words: object, above = ""): string[] {
  return Object.entries(words).flatMap(([key, value]: [string, unknown]) => {
    const name = `${above}${key.replace(/_(one|few|many|other)$/, "")}`;
    return typeof value === "object" && value !== null && !Array.isArray(value) ? keys(value, `${name}.`) : [name];
  });
}

function forms(words: object, language: string): string[] {
  const wanted = new Intl.PluralRules(language).resolvedOptions().pluralCategories;
  const counted = Object.entries(words)
    .flatMap(([, group]: [string, object]) => Object.keys(group))
    .filter((key) => key.endsWith("_other"));
  const all = new Set(Object.values(words).flatMap((group: object) => Object.keys(group)));
  return counted.flatMap((key) => wanted.map((form) => key.replace(/other$/, form))).filter((key) => !all.has(key));
}

describe("the translations", () => {
  it("have the same keys in both languages", () => {
    expect(new Set(keys(en))).toEqual(new Set(keys(uk)));
  });

  it("have all plural forms of the language", () => {
    expect(forms(uk, "uk")).toEqual([]);
    expect(forms(en, "en")).toEqual([]);
  });

  it("follow the setting, the browser, then English", () => {
    expect(preferredLanguage("en", ["uk-UA"])).toBe("en");
    expect(preferredLanguage(null, ["pl", "uk-UA", "en"])).toBe("uk");
    expect(preferredLanguage(null, ["pl"])).toBe("en");
  });
});

describe("a translator", () => {
  const { t, has, list } = createTranslator("uk", uk);
  const english = createTranslator("en", en);

  it("selects the plural form of the count", () => {
    expect([1, 2, 5, 21].map((count) => t("thread.replies", { count }))).toEqual([
      "1 відповідь",
      "2 відповіді",
      "5 відповідей",
      "21 відповідь",
    ]);
    expect([1, 2].map((count) => english.t("thread.replies", { count }))).toEqual(["1 reply", "2 replies"]);
  });

  it("inserts values, and isolates right-to-left names", () => {
    expect(english.t("room.replyTo", { name: "Taras $&" })).toBe("Reply to Taras $&");
    expect(english.t("room.replyTo", { name: "غرفة" })).toBe("Reply to \u2068غرفة\u2069");
  });

  it("knows which keys have a text", () => {
    expect(["problem.timeout", "problem.nonsense", "problem", "problem.constructor"].map((key) => has(key))).toEqual([
      true,
      false,
      false,
      false,
    ]);
    expect(createTranslator("en", {}).t("room.send")).toBe("room.send");
    expect(list("secondMe.ideas")).toHaveLength(3);
  });
});

describe("times", () => {
  const now = Date.parse("2026-11-22T12:00:00Z");
  it("are formatted relative to now", () => {
    expect(relativeTime("2026-11-22T11:42:00Z", now, "uk")).toBe("18 хвилин тому");
    expect(relativeTime("2026-11-22T12:00:05Z", now, "en")).toBe("now");
    expect(relativeTime("2026-11-21T11:00:00Z", now, "en")).toBe("yesterday");
  });
  it("have hours without a leading zero before AM and PM only", () => {
    const morning = new Date(2026, 10, 22, 9, 5).toISOString();
    expect(formatTime(morning, "en")).toMatch(/^9:05\sAM$/);
    expect(formatTime(morning, "uk")).toBe("09:05");
    expect(formatTime(morning, "en-u-hc-h23")).toBe("09:05");
  });
  it("name today and yesterday", () => {
    const words = { today: "T", yesterday: "Y" };
    expect(["2026-11-22", "2026-11-21", "2026-11-20"].map((day) => formatDay(day, now, "en", words))).toEqual([
      "T",
      "Y",
      "Friday, November 20",
    ]);
    expect(formatDay("2025-01-02", now, "en", words)).toBe("Thursday, January 2, 2025");
  });
});

describe("links into a Matrix client", () => {
  it("lead to Element or matrix.to", () => {
    expect(roomLink("https://app.element.io/", "#city_general:daarion.space")).toBe(
      "https://app.element.io/#/room/%23city_general:daarion.space",
    );
    expect(userLink(null, "@agent_varta:daarion.space")).toBe("https://matrix.to/#/@agent_varta:daarion.space");
  });
  it("recognise the page as a widget", () => {
    expect(widgetParameters("https://city.example/?widgetId=w1&parentUrl=https%3A%2F%2Felement.example%2F%23%2Froom")).toEqual({
      widgetId: "w1",
      clientOrigin: "https://element.example",
    });
    expect(widgetParameters("https://city.example/?widgetId=w1&parentUrl=nowhere")).toBeNull();
  });
});

describe("small functions", () => {
  it.each([
    ["Оксана Їжак", "ОЇ"],
    ["daarwizz", "D"],
    ["Second Me", "SM"],
    ["🌻", "?"],
  ])("the initials of %s", (name, letters) => expect(initials(name)).toBe(letters));

  it("letters on a light colour of a profile are dark", () => {
    expect(["#ffffff", "#fde047", "#7c3aed", "#0f766e", "#000000"].map(isLight)).toEqual([true, true, false, false, false]);
  });

  it("a problem is parsed from any response", () => {
    expect(problemOf(429, '{"code":"too_many_requests","detail":"slowly"}', "12")).toMatchObject({
      code: "too_many_requests",
      retryAfterMs: 12_000,
      isTemporary: true,
    });
    expect(problemOf(502, "<html>", null)).toMatchObject({ code: "http_502", retryAfterMs: null, isTemporary: true });
    expect(problemOf(404, "null", null)).toMatchObject({ code: "http_404", isTemporary: false });
  });

  it("the windows of the illustration have different ranks", () => {
    const ranks = windows().map(({ rank }) => rank);
    const count = BUILDINGS.reduce((sum, { rows, columns }) => sum + rows * columns, 0);
    expect(new Set(ranks)).toEqual(new Set(Array.from({ length: count }, (_, rank) => rank)));
  });
});
