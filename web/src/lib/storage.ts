/** What this browser keeps between visits. Storage can be forbidden or full: then it keeps nothing, and all else works. */
export function getLocalItem(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

export function setLocalItem(key: string, value: string | null): void {
  try {
    if (value === null) localStorage.removeItem(key);
    else localStorage.setItem(key, value);
  } catch {
    // Nothing to be done about it.
  }
}

/** Whether this browser keeps anything. */
export function hasLocalStorage(): boolean {
  const key = "city.probe";
  setLocalItem(key, "1");
  const isStored = getLocalItem(key) !== null;
  setLocalItem(key, null);
  return isStored;
}

/** The same for this one tab, until it is closed. */
export function getSessionItem(key: string): string | null {
  try {
    return sessionStorage.getItem(key);
  } catch {
    return null;
  }
}

export function setSessionItem(key: string, value: string | null): void {
  try {
    if (value === null) sessionStorage.removeItem(key);
    else sessionStorage.setItem(key, value);
  } catch {
    // Nothing to be done about it.
  }
}
