import type { SubjectId } from "../../api/types";
import type { Cancel } from "../../lib/clock";
import { setLocalItem, getLocalItem } from "../../lib/storage";

/** The draft of a question to a citizen's Second Me, in the browser's storage until the question is answered. */

function keyOf(citizen: SubjectId): string {
  return `city.secondme.draft.${citizen}`;
}

export function getPromptDraft(citizen: SubjectId): string {
  return getLocalItem(keyOf(citizen)) ?? "";
}

export function setPromptDraft(citizen: SubjectId, prompt: string): void {
  setLocalItem(keyOf(citizen), prompt || null);
}

/** Call `cleared` with the text of a draft that another tab removed from the storage. Returns a function that stops it. */
export function subscribeToClearedDraft(citizen: SubjectId, cleared: (prompt: string) => void): Cancel {
  const listener = ({ key, oldValue, newValue }: StorageEvent) => {
    if (key === keyOf(citizen) && newValue === null && oldValue !== null) cleared(oldValue);
  };
  addEventListener("storage", listener);
  return () => removeEventListener("storage", listener);
}
