import type { Room } from "../api/types";
import type { Cancel } from "./clock";

/** Rooms as lists show them now; null: changes were missed, and lists must be read again. */
export type RoomNews = readonly Room[] | null;

type Listener = (news: RoomNews) => void;

const listeners = new Set<Listener>();

/** Be told what the presence socket tells of rooms. Answers how to stop. */
export function hearRoomNews(listener: Listener): Cancel {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

export function tellRoomNews(news: RoomNews): void {
  for (const listener of listeners) listener(news);
}
