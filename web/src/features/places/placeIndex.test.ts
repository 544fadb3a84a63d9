import { describe, expect, it } from "vitest";
import type { District } from "../../api/types";
import { placesByDistrict, type ListedPlace } from "./placeIndex";

const place = (id: string, name: string, district: string | null): ListedPlace => ({
  kind: "node",
  id,
  path: `/nodes/${id}`,
  name,
  description: "",
  district,
  agents_total: 1,
  agents_online: 0,
});
const district = (id: string, name: string): District => ({
  id,
  name,
  agents_total: 0,
  agents_online: 0,
  nodes: [],
  microdaos: [],
});

const PLACES = [
  place("n3", "Вокзал", null),
  place("n1", "Яр", "podil"),
  place("n2", "Брама", "podil"),
  place("n4", "Дім", "gone"),
];
const DISTRICTS = [district("podil", "Поділ"), district("empty", "Безлюдний")];

const find = (searchText: string) =>
  placesByDistrict(PLACES, DISTRICTS, searchText, "uk").map((group) => [
    group.district?.id ?? null,
    group.places.map(({ id }) => id),
  ]);

describe("placesByDistrict", () => {
  it("sorts places by name, with those without a known district at the end", () => {
    expect(find("")).toEqual([
      ["podil", ["n2", "n1"]],
      [null, ["n3", "n4"]],
    ]);
  });

  it("finds by the name of a place or of its district", () => {
    expect(find("вок")).toEqual([[null, ["n3"]]]);
    expect(find("ПОДІЛ")).toEqual([["podil", ["n2", "n1"]]]);
  });
});
