import { useLayoutEffect, useState } from "react";
import { useLocation } from "react-router";
import { entryStates } from "../lib/entryStores";

interface State<Value> {
  entry: string;
  pathname: string;
  value: Value;
  /** Whether the value is stored, and not only the initial one. */
  isStored: boolean;
}

/**
 * State of a page, like that of `useState`, which the reader finds again after Back, Forward and a reload: it is stored with the
 * history entry. A page that is opened anew begins with `initial`.
 *
 * The page may also get another entry while it is shown: by a link to itself or within it. Then the value stays, unless the reader
 * has come back to an entry with its own. What stays beside several pages keeps its value on all of them.
 *
 * @param name - the name of the state, unique among those that are shown together.
 */
export function useEntryState<Value>(name: string, initial: Value): [Value, (value: Value) => void] {
  const { key: entry, pathname } = useLocation();
  const nameAt = `${entry} ${name}`;
  const [shown, setShown] = useState((): State<Value> => {
    const stored = entryStates.get(nameAt) as Value | undefined;
    return { entry, pathname, value: stored ?? initial, isStored: stored !== undefined };
  });
  let state = shown;
  if (shown.entry !== entry) {
    const stored = shown.pathname === pathname ? (entryStates.get(nameAt) as Value | undefined) : undefined;
    state = { entry, pathname, value: stored ?? shown.value, isStored: shown.isStored || stored !== undefined };
    setShown(state);
  }
  const { value, isStored } = state;
  useLayoutEffect(() => {
    if (isStored) entryStates.set(nameAt, value);
  }, [nameAt, value, isStored]);
  const set = (next: Value) => {
    setShown({ entry, pathname, value: next, isStored: true });
    // At once: the reader may leave the page before it is rendered.
    entryStates.set(nameAt, next);
  };
  return [value, set];
}
