import { useState } from "react";
import { useLocation } from "react-router";
import { entryStates } from "../lib/entryStores";

/**
 * State of a page, like that of `useState`, which the reader finds again after Back, Forward and a reload: it is stored with the
 * history entry. A new entry begins with `initial`.
 *
 * @param name - the name of the state, unique among those that are shown together.
 */
export function useEntryState<Value>(name: string, initial: Value): [Value, (value: Value) => void] {
  const { key: entry } = useLocation();
  const stored = `${entry} ${name}`;
  const [value, setValue] = useState(() => (entryStates.get(stored) as Value | undefined) ?? initial);
  const set = (next: Value) => {
    setValue(next);
    entryStates.set(stored, next);
  };
  return [value, set];
}
