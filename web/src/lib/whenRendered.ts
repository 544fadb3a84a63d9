/** An element is searched for in each frame for this long; milliseconds. A busy browser renders few frames. */
const PATIENCE_MS = 2_000;

/** Calls `act` with the element that `find` returns, as soon as React has rendered it; returns a function that stops waiting. */
export function whenRendered(find: () => HTMLElement | null | undefined, act: (found: HTMLElement) => void): () => void {
  const until = performance.now() + PATIENCE_MS;
  let frame = 0;
  const look = () => {
    const found = find();
    if (found) act(found);
    else if (performance.now() < until) frame = requestAnimationFrame(look);
  };
  frame = requestAnimationFrame(look);
  return () => cancelAnimationFrame(frame);
}
