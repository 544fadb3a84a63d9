import { useState } from "react";

interface Paged<Item> {
  shown: readonly Item[];
  /** How many there are besides. */
  hidden: number;
  showMore: () => void;
}

/**
 * The first `size` of many items, and as many more each time that is asked for.
 *
 * @param key - what the items were chosen by: with another one the first page is shown again.
 */
export function usePaged<Item>(items: readonly Item[], key: string, size: number): Paged<Item> {
  const [asked, setAsked] = useState({ key, pages: 1 });
  const pages = asked.key === key ? asked.pages : 1;
  const shown = items.slice(0, pages * size);
  return { shown, hidden: items.length - shown.length, showMore: () => setAsked({ key, pages: pages + 1 }) };
}
