/** A key for a history entry that has none: the first one of a document, and those of links within the page. */
export function ensureEntryKey(history: Pick<History, "state" | "replaceState">): void {
  const state = history.state as { key?: string } | null;
  // The router gives keys to the entries of its own navigations only, and calls the others "default".
  if (state?.key === undefined) history.replaceState({ ...state, key: randomKey() }, "");
}

function randomKey(): string {
  return Array.from(crypto.getRandomValues(new Uint32Array(2)), (word) => word.toString(36)).join("");
}
