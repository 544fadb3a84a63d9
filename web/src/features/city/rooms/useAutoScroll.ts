import { useEffect, useEffectEvent, useLayoutEffect, useRef, useState, type RefObject } from "react";
import type { Row } from "./rows";

/** At this distance from the bottom or less, the list counts as at the bottom. */
const NEAR_PX = 60;
/** The virtual list may set `scrollTop` to 0 in the frames after its window changed its height (seen in Chromium). */
const SETTLED_MS = 200;

/** Milliseconds of the page's clock. */
const now = (): number => performance.now();

/**
 * Scrolling of a conversation: at the bottom it follows new rows, elsewhere it stays and counts them.
 *
 * An own message (`outgoing`: the number of those on their way) scrolls to the bottom. The end of a part of the history
 * (`hasNewer`) is not the bottom.
 *
 * A list that starts or jumps elsewhere follows only once it has settled: rows that are not measured yet are lower than they will
 * be, so that any place may be near the bottom.
 */
export function useAutoScroll(
  listRef: RefObject<HTMLDivElement | null>,
  rows: readonly Row[],
  outgoing: number,
  hasNewer: boolean,
  startsElsewhere = false,
) {
  const [startsAtEnd] = useState(() => !startsElsewhere && !rows.some(({ kind }) => kind === "unread"));
  // A room with unread messages is read when it is opened: its reader may leave before the list has settled.
  const [isNearBottom, setAtBottom] = useState(!startsElsewhere);
  const isAtBottom = isNearBottom && !hasNewer;
  const [seenKey, setSeenKey] = useState<string | null>(null);
  const [said, setSaid] = useState(outgoing);
  // A reader with unread messages, or with one message to see (`startsElsewhere`), starts there.
  const followsRef = useRef(startsAtEnd);
  const settlingRef = useRef<ReturnType<typeof setTimeout>>(undefined);
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
    if (list.clientHeight !== viewport) resizedAtRef.current = now();
    // `scrollTop` also falls when rows above shrink, as a damaged video does, or when the composer gets or loses lines or files.
    // A person has scrolled up only if both heights are as before.
    const wentUp = list.scrollTop < top && list.scrollHeight === height && now() - resizedAtRef.current > SETTLED_MS;
    if (!isNear && !wentUp && followsRef.current) {
      lastRef.current = scrollDown(list);
      return;
    }
    if (settlingRef.current !== undefined) {
      if (!isNear) setAtBottom(false);
      settle();
      return;
    }
    followsRef.current = isNear;
    setAtBottom(isNear);
  };
  const endSettling = () => {
    clearTimeout(settlingRef.current);
    settlingRef.current = undefined;
  };
  /** Wait until the list has had the same rows and heights for a while. */
  const settle = () => {
    endSettling();
    settlingRef.current = setTimeout(() => {
      endSettling();
      look();
    }, SETTLED_MS);
  };
  /** The next scroll event comes from a jump to a row, and ends following even if `scrollTop` grows. */
  const beforeJump = () => {
    if (listRef.current) lastRef.current = { ...placeOf(listRef.current), top: Infinity };
    resizedAtRef.current = -Infinity;
    // Rows that get their heights meanwhile must not scroll back to the bottom.
    followsRef.current = false;
    settle();
  };
  const toBottom = () => {
    endSettling();
    followsRef.current = true;
    // Another part of the history may be shorter, which lowers `scrollTop` without a scroll of the reader.
    lastRef.current = TOP;
    setAtBottom(true);
    if (listRef.current) scrollDown(listRef.current);
  };

  const settleOn = useEffectEvent(settle);
  useLayoutEffect(() => {
    if (!startsAtEnd) settleOn();
    return () => clearTimeout(settlingRef.current);
  }, [startsAtEnd]);

  useLayoutEffect(() => {
    if (hasNewer) followsRef.current = false;
    else if (followsRef.current && listRef.current) scrollDown(listRef.current);
  }, [listRef, hasNewer]);

  useLayoutEffect(() => {
    if (!outgoing) return;
    endSettling();
    followsRef.current = true;
    if (listRef.current) scrollDown(listRef.current);
  }, [listRef, outgoing]);

  // Rows get their heights when they are rendered, pictures when they are loaded: the list stays at the bottom, which moves.
  useEffect(() => {
    const list = listRef.current;
    if (!list) return undefined;
    const observer = new ResizeObserver(() => {
      if (list.clientHeight !== lastRef.current.viewport) resizedAtRef.current = now();
      if (followsRef.current) lastRef.current = scrollDown(list);
      else lastRef.current = placeOf(list);
      if (settlingRef.current !== undefined) settleOn();
    });
    observer.observe(list);
    for (const child of list.children) observer.observe(child);
    return () => observer.disconnect();
  }, [listRef]);

  return { isAtBottom, newBelow: isAtBottom ? 0 : countNew(rows, seenKey), look, beforeJump, toBottom, endSettling };
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
