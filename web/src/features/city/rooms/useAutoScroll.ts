import { useEffect, useLayoutEffect, useRef, useState, type RefObject } from "react";
import type { Row } from "./rows";

/** Whoever is this near to the bottom is at it. */
const NEAR_PX = 60;
/** The virtual list may set `scrollTop` to 0 in the frames after its window changed its height (seen in Chromium). */
const SETTLED_MS = 200;

/**
 * Scrolling of a conversation: at the bottom it follows what is new, elsewhere it stays and counts.
 *
 * What one says oneself (`outgoing`: how much of that is on its way) takes one to the bottom. The end of a part of the history
 * (`hasNewer`) is no bottom.
 */
export function useAutoScroll(
  listRef: RefObject<HTMLDivElement | null>,
  rows: readonly Row[],
  outgoing: number,
  hasNewer: boolean,
  startsElsewhere = false,
) {
  const [isNearBottom, setAtBottom] = useState(true);
  const isAtBottom = isNearBottom && !hasNewer;
  const [seenKey, setSeenKey] = useState<string | null>(null);
  const [said, setSaid] = useState(outgoing);
  // Whoever comes to something unread, or to one message (`startsElsewhere`), begins there.
  const followsRef = useRef(!startsElsewhere && !rows.some(({ kind }) => kind === "unread"));
  const lastRef = useRef<Place>(TOP);
  const resizedAtRef = useRef(-Infinity);
  const lastKey = rows.at(-1)?.key ?? null;

  if (said !== outgoing) {
    setSaid(outgoing);
    if (outgoing > said) setAtBottom(true);
  }
  // The last line that was seen at the bottom: those after it are new.
  if (isAtBottom && seenKey !== lastKey) setSeenKey(lastKey);

  const look = () => {
    const list = listRef.current;
    if (!list) return;
    const isNear = !hasNewer && list.scrollHeight - list.scrollTop - list.clientHeight < NEAR_PX;
    const { top, height, viewport } = lastRef.current;
    lastRef.current = placeOf(list);
    if (list.clientHeight !== viewport) resizedAtRef.current = performance.now();
    // Rows above that shrink, as a video does that turns out to be damaged, lower `scrollTop`, too; so does a composer that gets or
    // loses lines or files. Only where both heights are as before it was a person who scrolled up.
    const wentUp = list.scrollTop < top && list.scrollHeight === height && performance.now() - resizedAtRef.current > SETTLED_MS;
    if (!isNear && !wentUp && followsRef.current) {
      lastRef.current = scrollDown(list);
      return;
    }
    followsRef.current = isNear;
    setAtBottom(isNear);
  };
  /** The next scroll event is that of a jump to a row, and ends following even if `scrollTop` grows. */
  const beforeJump = () => {
    if (listRef.current) lastRef.current = { ...placeOf(listRef.current), top: Infinity };
    resizedAtRef.current = -Infinity;
    // Rows that get their heights meanwhile do not lead back.
    followsRef.current = false;
  };
  const toBottom = () => {
    followsRef.current = true;
    // Another part of the history may be shorter, which moves the list up without anybody's doing.
    lastRef.current = TOP;
    setAtBottom(true);
    if (listRef.current) scrollDown(listRef.current);
  };

  useLayoutEffect(() => {
    if (hasNewer) followsRef.current = false;
    else if (followsRef.current && listRef.current) scrollDown(listRef.current);
  }, [listRef, hasNewer]);

  useLayoutEffect(() => {
    if (!outgoing) return;
    followsRef.current = true;
    if (listRef.current) scrollDown(listRef.current);
  }, [listRef, outgoing]);

  // Lines get their heights when they are drawn, pictures when they are there: the bottom moves, and one stays at it.
  useEffect(() => {
    const list = listRef.current;
    if (!list) return undefined;
    const observer = new ResizeObserver(() => {
      if (list.clientHeight !== lastRef.current.viewport) resizedAtRef.current = performance.now();
      if (followsRef.current) lastRef.current = scrollDown(list);
      else lastRef.current = placeOf(list);
    });
    observer.observe(list);
    for (const child of list.children) observer.observe(child);
    return () => observer.disconnect();
  }, [listRef]);

  return { isAtBottom, newBelow: isAtBottom ? 0 : countNew(rows, seenKey), look, beforeJump, toBottom };
}

interface Place {
  top: number;
  height: number;
  viewport: number;
}

const TOP: Place = { top: 0, height: 0, viewport: 0 };

function placeOf({ scrollTop, scrollHeight, clientHeight }: HTMLElement): Place {
  return { top: scrollTop, height: scrollHeight, viewport: clientHeight };
}

function scrollDown(list: HTMLElement): Place {
  list.scrollTop = list.scrollHeight;
  return placeOf(list);
}

/** How many messages came after the last line that was seen. */
export function countNew(rows: readonly Row[], seenKey: string | null): number {
  const seen = rows.findLastIndex(({ key }) => key === seenKey);
  return seen < 0 ? 0 : rows.slice(seen + 1).filter(({ kind }) => kind === "message").length;
}
