/** What this browser keeps between visits. Storage can be forbidden or full: then it keeps nothing, and all else works. */
export function kept(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

export function keep(key: string, value: string | null): void {
  try {
    if (value === null) localStorage.removeItem(key);
    else localStorage.setItem(key, value);
  } catch {
    // Nothing to be done about it.
  }
}

/** Whether this browser keeps anything. */
export function canKeep(): boolean {
  const key = "city.probe";
  keep(key, "1");
  const isKept = kept(key) !== null;
  keep(key, null);
  return isKept;
}

/** The same for this one tab, until it is closed. */
export function keptInTab(key: string): string | null {
  try {
    return sessionStorage.getItem(key);
  } catch {
    return null;
  }
}

export function keepInTab(key: string, value: string | null): void {
  try {
    if (value === null) sessionStorage.removeItem(key);
    else sessionStorage.setItem(key, value);
  } catch {
    // Nothing to be done about it.
  }
}
