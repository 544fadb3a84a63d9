import { startTransition, useEffect, useState } from "react";
import { useEntryState } from "./useEntryState";

interface Paged<Item> {
  /** The items to render now; the rest of the page follows in later commits. */
  shown: readonly Item[];
  /** The number of items after the current page. */
  hidden: number;
  showMore: () => void;
}

/**
 * The most items that one commit mounts after the first: a commit cannot be interrupted, and a key stroke during it waits until
 * it is painted.
 */
export const MOUNTED_AT_ONCE = 16;

/**
 * The first `size` of many items, and as many more with each `showMore`; as many again after Back.
 *
 * @param name - the name of the list, unique among those that are shown together.
 * @param key - the filter of the items: another one shows the first page again.
 */
export function usePaged<Item extends { id: string }>(
  name: string,
  items: readonly Item[],
  key: string,
  size: number,
): Paged<Item> {
  const [asked, setAsked] = useEntryState(`${name}.pages`, { key, pages: 1 });
  const pages = asked.key === key ? asked.pages : 1;
  const page = items.slice(0, pages * size);
  return {
    shown: useGradual(page),
    hidden: items.length - page.length,
    showMore: () => setAsked({ key, pages: pages + 1 }),
  };
}

/** The items from the first one on, of which at most `MOUNTED_AT_ONCE` are new since the last commit. */
function useGradual<Item extends { id: string }>(items: readonly Item[]): readonly Item[] {
  // The first list is rendered at once: the browser may have to restore the scroll position of its page.
  const [mounted, setMounted] = useState<ReadonlySet<string>>(() => new Set(items.map(({ id }) => id)));
  const shown = startOf(items, mounted);
  useEffect(() => {
    if (shown.length === mounted.size && shown.every(({ id }) => mounted.has(id))) return;
    // A key stroke interrupts a transition.
    startTransition(() => setMounted(new Set(shown.map(({ id }) => id))));
  }, [shown, mounted]);
  return shown;
}

function startOf<Item extends { id: string }>(items: readonly Item[], mounted: ReadonlySet<string>): readonly Item[] {
  let added = 0;
  const end = items.findIndex(({ id }) => !mounted.has(id) && ++added > MOUNTED_AT_ONCE);
  return end < 0 ? items : items.slice(0, end);
}
