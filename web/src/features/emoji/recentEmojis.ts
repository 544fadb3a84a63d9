import type { SubjectId } from "../../api/types";
import { getLocalItem, setLocalItem } from "../../lib/storage";

const KEY = "city.emoji.recent.";
const LIMIT = 16;

/** The emojis that a person chose last in this browser, the newest first. */
export function recentEmojis(person: SubjectId | null): readonly string[] {
  return (getLocalItem(KEY + (person ?? "")) ?? "").split(" ").filter(Boolean);
}

export function addRecentEmoji(person: SubjectId | null, emoji: string): void {
  const others = recentEmojis(person).filter((each) => each !== emoji);
  setLocalItem(KEY + (person ?? ""), [emoji, ...others].slice(0, LIMIT).join(" "));
}
