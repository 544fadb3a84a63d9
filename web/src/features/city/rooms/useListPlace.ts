import { useLayoutEffect, useState, type RefObject } from "react";
import { useLocation } from "react-router";
import { listPlaces, type ListPlace } from "../../../lib/entryStores";

/** At this distance from its end or less, a list is left at its end. */
const NEAR_PX = 60;

/**
 * Where the reader left the list of this history entry, if they have come back to it; undefined for a new entry.
 *
 * The place is stored when the list or the document is left.
 */
export function useListPlace(list: RefObject<HTMLElement | null>, threadRoot: string | null): ListPlace | undefined {
  const { key: entry } = useLocation();
  const name = threadRoot === null ? entry : `${entry} ${threadRoot}`;
  const [place] = useState(() => listPlaces.get(name));
  // A layout effect is cleaned up before the list leaves the document.
  useLayoutEffect(() => {
    const shown = list.current;
    const store = () => shown && listPlaces.set(name, placeIn(shown));
    addEventListener("pagehide", store);
    return () => {
      store();
      removeEventListener("pagehide", store);
    };
  }, [list, name]);
  return place;
}

/** The first message that is visible, if the list is not at its end. */
function placeIn(list: HTMLElement): ListPlace {
  if (list.scrollHeight - list.scrollTop - list.clientHeight < NEAR_PX) return "end";
  const { top } = list.getBoundingClientRect();
  for (const row of list.querySelectorAll<HTMLElement>("[data-message]")) {
    const box = row.getBoundingClientRect();
    if (box.bottom > top) return { messageId: row.dataset.message ?? "", top: box.top - top };
  }
  return "end";
}
