import { describe, expect, it } from "vitest";
import { splitIds, withIds, withNames, type Profiles } from "./mentions";

const profile = (name: string, matrixId: string) => ({ name, matrixId, avatarUrl: null, color: null });
const PROFILES: Profiles = {
  u_2: profile("Тарас Шевчук", "@citizen_u_2:city.localhost"),
  u_3: profile("Тарас", "@citizen_u_3:city.localhost"),
  u_4: profile("Тарас", "@citizen_u_4:city.localhost"),
};

describe("mentions in a text", () => {
  it("are written as names and sent as Matrix user ids", () => {
    const mentions = { "@Тарас": "@citizen_u_3:city.localhost", "@Тарас Шевчук": "@citizen_u_2:city.localhost" };
    expect(withIds("@Тарас Шевчук, це @Тарас!", mentions)).toBe("@citizen_u_2:city.localhost, це @citizen_u_3:city.localhost!");
    expect(withIds("@Тарасе, пошта a@Тарас", mentions)).toBe("@Тарасе, пошта a@Тарас");
  });

  it("come back as names when a message is edited", () => {
    const text = "Так, @citizen_u_2:city.localhost.";
    const { text: written, mentions } = withNames(text, PROFILES);
    expect(written).toBe("Так, @Тарас Шевчук.");
    expect(withIds(written, mentions)).toBe(text);
  });

  it("keep the id of the second of two people with one name", () => {
    const text = "@citizen_u_3:city.localhost і @citizen_u_4:city.localhost";
    const { text: written, mentions } = withNames(text, PROFILES);
    expect(written).toBe("@Тарас і @citizen_u_4:city.localhost");
    expect(withIds(written, mentions)).toBe(text);
  });

  it.each([".", "a", "@a", "@a:b."])("are searched in a long run of %s in linear time", (unit) => {
    const text = `@a:b${unit.repeat(24_000)}x`;
    const start = performance.now();
    expect(
      splitIds(text)
        .map((part) => part.text)
        .join(""),
    ).toBe(text);
    // Linear: under 0.1 s. Quadratic: 4 s.
    expect(performance.now() - start).toBeLessThan(2_000);
  });

  it("are not found in mail addresses, and end before the sentence does", () => {
    const ids = (text: string) => splitIds(text).flatMap((part) => (part.isId ? [part.text] : []));
    expect(ids("пошта olena@example.org:8080, @olena:example.org. #general:city.localhost:8448!")).toEqual([
      "@olena:example.org",
      "#general:city.localhost:8448",
    ]);
  });
});
