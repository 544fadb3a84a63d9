/** The scale of a picture in the viewer, and the offset of its middle from the viewer's middle, in pixels. */
export interface Zoom {
  scale: number;
  x: number;
  y: number;
}

export interface Point {
  x: number;
  y: number;
}

export interface Size {
  width: number;
  height: number;
}

export const WHOLE: Zoom = { scale: 1, x: 0, y: 0 };
export const MAX_SCALE = 8;
export const STEP = 1.4;

/** Scale by `factor`; the part of the picture at `point`, measured from the viewer's middle, stays there. */
export function zoomedAt(zoom: Zoom, factor: number, point: Point, size: Size): Zoom {
  const scale = Math.min(MAX_SCALE, Math.max(1, zoom.scale * factor));
  const ratio = scale / zoom.scale;
  return within({ scale, x: point.x - (point.x - zoom.x) * ratio, y: point.y - (point.y - zoom.y) * ratio }, size);
}

export function movedBy(zoom: Zoom, by: Point, size: Size): Zoom {
  return within({ ...zoom, x: zoom.x + by.x, y: zoom.y + by.y }, size);
}

/** Limit the offset, so that a picture of `size` pixels, unscaled, is never moved out of view. */
function within({ scale, x, y }: Zoom, { width, height }: Size): Zoom {
  const far = { x: (width * (scale - 1)) / 2, y: (height * (scale - 1)) / 2 };
  return { scale, x: clamp(x, far.x), y: clamp(y, far.y) };
}

function clamp(value: number, far: number): number {
  // `+ 0` turns a negative zero into zero.
  return Math.max(-far, Math.min(far, value)) + 0;
}
