import type { SubjectId } from "../../api/types";
import { keep, kept } from "../../lib/storage";

/** What somebody has begun to ask their Second Me: kept until it is answered. */

function keyOf(person: SubjectId): string {
  return `city.secondme.draft.${person}`;
}

export function keptPrompt(person: SubjectId): string {
  return kept(keyOf(person)) ?? "";
}

export function keepPrompt(person: SubjectId, prompt: string): void {
  keep(keyOf(person), prompt || null);
}
