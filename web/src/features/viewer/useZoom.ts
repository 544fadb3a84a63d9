import { useCallback, useRef, useState, type PointerEvent } from "react";
import { MAX_SCALE, movedBy, STEP, WHOLE, zoomedAt, type Point, type Zoom } from "./zoom";

const WHEEL_SPEED = 0.002;
/** A finger that moves this far sideways requests the next picture; pixels. */
const SWIPE_PX = 60;
const DOUBLE_CLICK_SCALE = 2.5;

/**
 * Zoom and position of a picture, by wheel, by one or two fingers, by double click and by buttons.
 *
 * A new `url` starts at scale 1. `onSwipe` is called with 1 for the next picture and -1 for the one before it.
 */
export function useZoom(url: string, onSwipe: (step: 1 | -1) => void) {
  const [zoomed, setZoomed] = useState<{ url: string; zoom: Zoom }>({ url, zoom: WHOLE });
  const zoom = zoomed.url === url ? zoomed.zoom : WHOLE;
  const setZoom = useCallback(
    (next: (now: Zoom) => Zoom) => setZoomed((now) => ({ url, zoom: next(now.url === url ? now.zoom : WHOLE) })),
    [url],
  );
  const picture = useRef<HTMLImageElement | null>(null);
  const pointers = useRef(new Map<number, Point>());
  const startX = useRef<number | null>(null);

  /** The size of the picture at scale 1. */
  const size = useCallback(() => {
    const { offsetWidth: width = 0, offsetHeight: height = 0 } = picture.current ?? {};
    return { width, height };
  }, []);
  const scaleBy = (factor: number, at: Point = { x: 0, y: 0 }) => setZoom((now) => zoomedAt(now, factor, at, size()));
  const reset = () => setZoom(() => WHOLE);

  // React's wheel listeners are passive, so the page would zoom, too.
  const stage = useCallback(
    (element: HTMLElement | null) => {
      if (!element) return undefined;
      const onWheel = (event: WheelEvent) => {
        event.preventDefault();
        const factor = Math.exp(-event.deltaY * WHEEL_SPEED);
        setZoom((now) => zoomedAt(now, factor, fromMiddle(event, element), size()));
      };
      element.addEventListener("wheel", onWheel, { passive: false });
      return () => element.removeEventListener("wheel", onWheel);
    },
    [size, setZoom],
  );

  const onPointerDown = (event: PointerEvent<HTMLElement>) => {
    if (event.target instanceof Element && event.target.closest("button, a")) return;
    event.currentTarget.setPointerCapture(event.pointerId);
    pointers.current.set(event.pointerId, { x: event.clientX, y: event.clientY });
    startX.current = pointers.current.size === 1 ? event.clientX : null;
  };
  const onPointerMove = (event: PointerEvent<HTMLElement>) => {
    const before = pointers.current.get(event.pointerId);
    if (!before) return;
    const now = { x: event.clientX, y: event.clientY };
    const other = [...pointers.current].find(([id]) => id !== event.pointerId)?.[1];
    pointers.current.set(event.pointerId, now);
    if (other) {
      const middle = fromMiddle({ clientX: (now.x + other.x) / 2, clientY: (now.y + other.y) / 2 }, event.currentTarget);
      scaleBy(distance(now, other) / Math.max(1, distance(before, other)), middle);
    } else {
      setZoom((zoomed) => movedBy(zoomed, { x: now.x - before.x, y: now.y - before.y }, size()));
    }
  };
  const onPointerUp = (event: PointerEvent<HTMLElement>) => {
    const from = startX.current;
    pointers.current.delete(event.pointerId);
    startX.current = null;
    if (from === null || zoom.scale > 1 || event.pointerType !== "touch") return;
    const by = event.clientX - from;
    if (Math.abs(by) > SWIPE_PX) onSwipe(by < 0 ? 1 : -1);
  };
  const onDoubleClick = (event: { clientX: number; clientY: number; currentTarget: HTMLElement }) => {
    if (zoom.scale > 1) reset();
    else scaleBy(DOUBLE_CLICK_SCALE, fromMiddle(event, event.currentTarget));
  };

  return {
    zoom,
    reset,
    canEnlarge: zoom.scale < MAX_SCALE,
    enlarge: () => scaleBy(STEP),
    shrink: () => scaleBy(1 / STEP),
    picture,
    stage: { ref: stage, onPointerDown, onPointerMove, onPointerUp, onPointerCancel: onPointerUp, onDoubleClick },
  };
}

function fromMiddle({ clientX, clientY }: { clientX: number; clientY: number }, element: HTMLElement): Point {
  const { left, top, width, height } = element.getBoundingClientRect();
  return { x: clientX - left - width / 2, y: clientY - top - height / 2 };
}

function distance(a: Point, b: Point): number {
  return Math.hypot(a.x - b.x, a.y - b.y);
}
