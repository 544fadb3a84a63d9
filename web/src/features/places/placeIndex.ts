import type { District } from "../../api/types";

/** A node or a microDAO in the list of places. */
export interface ListedPlace {
  kind: "node" | "microdao";
  id: string;
  path: string;
  name: string;
  description: string;
  /** The id of its district. */
  district: string | null;
  agents_total: number;
  agents_online: number;
}

export interface DistrictPlaces {
  /** Null for places without a district. */
  district: District | null;
  places: ListedPlace[];
}

/** The places with `searchText` in their name, description or district, by district; places without a district come last. */
export function placesByDistrict(
  places: readonly ListedPlace[],
  districts: readonly District[],
  searchText: string,
  language: string,
): DistrictPlaces[] {
  const words = searchText.trim().toLocaleLowerCase();
  const byName = (a: { name: string }, b: { name: string }) => a.name.localeCompare(b.name, language);
  const known = new Set(districts.map(({ id }) => id));
  return [...districts.toSorted(byName), null]
    .map((district) => {
      const inDistrict = places.filter((place) =>
        district ? place.district === district.id : place.district === null || !known.has(place.district),
      );
      const found = inDistrict.filter(({ name, description, id }) =>
        [name, description, id, district?.name ?? ""].some((text) => text.toLocaleLowerCase().includes(words)),
      );
      return { district, places: found.toSorted(byName) };
    })
    .filter((group) => group.places.length > 0);
}
