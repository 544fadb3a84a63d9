/** The values of a document without storage, as frames of other sites are in some browsers. */
const inMemory = new Map<string, string>();

/** What this browser keeps between visits. Storage can be forbidden: then values last as long as the document. */
export function getLocalItem(key: string): string | null {
  const storage = localStorageOrNull();
  return storage ? storage.getItem(key) : (inMemory.get(key) ?? null);
}

export function setLocalItem(key: string, value: string | null): void {
  const storage = localStorageOrNull();
  try {
    if (!storage) {
      if (value === null) inMemory.delete(key);
      else inMemory.set(key, value);
    } else if (value === null) storage.removeItem(key);
    else storage.setItem(key, value);
  } catch {
    // It is full: nothing to be done about it.
  }
}

function localStorageOrNull(): Storage | null {
  try {
    return localStorage;
  } catch {
    return null;
  }
}

/** Whether this browser keeps anything. */
export function hasLocalStorage(): boolean {
  const storage = localStorageOrNull();
  if (!storage) return false;
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
