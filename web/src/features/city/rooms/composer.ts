import { create } from "zustand";
import type { Message } from "../../../api/types";
import { keep, kept } from "../../../lib/storage";

interface ComposerState {
  replyTo: Message | null;
  editing: Message | null;
  reply: (message: Message) => void;
  edit: (message: Message) => void;
  clear: () => void;
}

/** What the input is for just now: something new, an answer, or a change of what was said. */
export const useComposer = create<ComposerState>((set) => ({
  replyTo: null,
  editing: null,
  reply: (message) => set({ replyTo: message, editing: null }),
  edit: (message) => set({ editing: message, replyTo: null }),
  clear: () => set({ replyTo: null, editing: null }),
}));

const KEY = "city.draft.";

/** What was begun and not sent, for when one comes back: after signing in again, or the next day. */
export function draftOf(slug: string): string {
  return kept(KEY + slug) ?? "";
}

export function keepDraft(slug: string, draft: string): void {
  keep(KEY + slug, draft || null);
}
