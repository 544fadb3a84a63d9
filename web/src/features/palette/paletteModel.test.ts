import { describe, expect, it } from "vitest";
import type { Agent } from "../../api/types";
import { room } from "../../testing/samples";
import { paletteItems, type PaletteSources } from "./paletteModel";

const SOURCES: PaletteSources = {
  pages: [{ name: "Місто", path: "/" }],
  rooms: [
    room(1, [], { id: "r1", slug: "general", name: "General", description: "Головна кімната" }),
    room(1, [], { id: "r2", slug: "science", name: "Наука", description: "Мережі" }),
  ],
  agents: [{ slug: "varta", display_name: "Варта", title: "Хранителька" } as Agent],
  people: [
    { subject: "u_2", name: "Тарас Головко" },
    { subject: "u_3", name: "Головко Ніна" },
  ],
};

const found = (query: string) => paletteItems(query, SOURCES).map(({ id }) => id);

describe("the palette", () => {
  it("shows rooms and pages for an empty query", () => {
    expect(found(" ")).toEqual(["room r1", "room r2", "page /"]);
  });

  it("finds rooms, people and agents by the beginning of a word first", () => {
    expect(found("голо")).toEqual(["room r1", "person u_3", "person u_2"]);
    expect(found("ВАРТА")).toEqual(["agent varta"]);
  });

  it("ignores the sign of a mention", () => {
    expect(found("@тарас")).toEqual(["person u_2"]);
    expect(found("#наука")).toEqual(["room r2"]);
  });

  it("finds at most seven rooms", () => {
    const rooms = Array.from({ length: 20 }, (_, at) => room(1, [], { id: `r${at}`, slug: `r${at}`, name: `Room ${at}` }));
    expect(paletteItems("room", { ...SOURCES, rooms })).toHaveLength(7);
  });
});
