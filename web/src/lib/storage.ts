/** The values of a document without storage, such as a frame of another site in some browsers. */
const inMemory = new Map<string, string>();

/** Read a value that this browser stores between visits. Storage may be forbidden: then values last as long as the document. */
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
    // The storage is full: the value is not stored.
  }
}

function localStorageOrNull(): Storage | null {
  try {
    return localStorage;
  } catch {
    return null;
  }
}

/** Whether this browser stores values. */
export function hasLocalStorage(): boolean {
  const storage = localStorageOrNull();
  if (!storage) return false;
  const key = "city.probe";
  setLocalItem(key, "1");
  const isStored = getLocalItem(key) !== null;
  setLocalItem(key, null);
  return isStored;
}

/** Read a value of this tab, which is stored until the tab is closed. */
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
    // The storage is full or forbidden: the value is not stored.
  }
}
