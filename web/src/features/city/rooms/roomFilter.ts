import type { Room } from "../../../api/types";

/** The rooms whose name, description or slug contains `searchText`, in the given order. */
export function filterRooms(rooms: readonly Room[], searchText: string): readonly Room[] {
  const words = searchText.trim().toLocaleLowerCase();
  if (words === "") return rooms;
  return rooms.filter(({ name, description, slug }) => `${name} ${description} ${slug}`.toLocaleLowerCase().includes(words));
}

/** The room `step` places after `slug` in a list, which wraps around at its ends. */
export function neighbour<Place extends { slug: string }>(
  rooms: readonly Place[],
  slug: string,
  step: 1 | -1,
): Place | undefined {
  const at = rooms.findIndex((room) => room.slug === slug);
  if (at < 0) return rooms.at(step > 0 ? 0 : -1);
  return rooms.at((at + step) % rooms.length);
}
