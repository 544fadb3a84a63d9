import { useEffect, useLayoutEffect, useRef, useState, type RefObject } from "react";
import type { Row } from "./rows";

/** At this distance from the bottom or less, the list counts as at the bottom. */
const NEAR_PX = 60;
/** The virtual list may set `scrollTop` to 0 in the frames after its window changed its height (seen in Chromium). */
const SETTLED_MS = 200;

/**
 * Scrolling of a conversation: at the bottom it follows new rows, elsewhere it stays and counts them.
 *
 * An own message (`outgoing`: the number of those on their way) scrolls to the bottom. The end of a part of the history
 * (`hasNewer`) is not the bottom.
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
  // A reader with unread messages, or with one message to see (`startsElsewhere`), starts there.
  const followsRef = useRef(!startsElsewhere && !rows.some(({ kind }) => kind === "unread"));
  const lastRef = useRef<Place>(TOP);
  const resizedAtRef = useRef(-Infinity);
  const lastKey = rows.at(-1)?.key ?? null;

  if (said !== outgoing) {
    setSaid(outgoing);
    if (outgoing > said) setAtBottom(true);
  }
  // The last row that was seen at the bottom: rows after it are new.
  if (isAtBottom && seenKey !== lastKey) setSeenKey(lastKey);

  const look = () => {
    const list = listRef.current;
    if (!list) return;
    const isNear = !hasNewer && list.scrollHeight - list.scrollTop - list.clientHeight < NEAR_PX;
    const { top, height, viewport } = lastRef.current;
    lastRef.current = placeOf(list);
    if (list.clientHeight !== viewport) resizedAtRef.current = performance.now();
    // `scrollTop` also falls when rows above shrink, as a damaged video does, or when the composer gets or loses lines or files.
    // A person has scrolled up only if both heights are as before.
    const wentUp = list.scrollTop < top && list.scrollHeight === height && performance.now() - resizedAtRef.current > SETTLED_MS;
    if (!isNear && !wentUp && followsRef.current) {
      lastRef.current = scrollDown(list);
      return;
    }
    followsRef.current = isNear;
    setAtBottom(isNear);
  };
  /** The next scroll event comes from a jump to a row, and ends following even if `scrollTop` grows. */
  const beforeJump = () => {
    if (listRef.current) lastRef.current = { ...placeOf(listRef.current), top: Infinity };
    resizedAtRef.current = -Infinity;
    // Rows that get their heights meanwhile must not scroll back to the bottom.
    followsRef.current = false;
  };
  const toBottom = () => {
    followsRef.current = true;
    // Another part of the history may be shorter, which lowers `scrollTop` without a scroll of the reader.
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

  // Rows get their heights when they are rendered, pictures when they are loaded: the list stays at the bottom, which moves.
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

/** The number of messages after the last row that was seen. */
export function countNew(rows: readonly Row[], seenKey: string | null): number {
  const seen = rows.findLastIndex(({ key }) => key === seenKey);
  return seen < 0 ? 0 : rows.slice(seen + 1).filter(({ kind }) => kind === "message").length;
}
