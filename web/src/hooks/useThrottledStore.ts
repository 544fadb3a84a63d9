import { useCallback, useRef, useSyncExternalStore } from "react";
import type { StoreApi } from "zustand";
import { pageClock } from "../lib/clock";
import { Throttle } from "../lib/throttle";

/**
 * A part of a store that changes often, rendered at most once in `everyMs` milliseconds, and at once for a single change.
 *
 * @param select - a function of a module: a new function subscribes again.
 */
export function useThrottledStore<State, Part>(
  store: Pick<StoreApi<State>, "getState" | "subscribe">,
  select: (state: State) => Part,
  everyMs: number,
): Part {
  const shown = useRef<{ part: Part } | null>(null);
  const subscribe = useCallback(
    (onChange: () => void) => {
      const update = () => {
        shown.current = { part: select(store.getState()) };
        onChange();
      };
      const throttle = new Throttle(pageClock, everyMs, update);
      const unsubscribe = store.subscribe((state, before) => {
        if (select(state) !== select(before)) throttle.schedule();
      });
      // The store may have changed since the first render.
      update();
      return () => {
        unsubscribe();
        throttle.stop();
      };
    },
    [store, select, everyMs],
  );
  return useSyncExternalStore(subscribe, () => (shown.current ??= { part: select(store.getState()) }).part);
}
