import { create } from "zustand";
import type { SubjectId } from "../api/types";

interface ProfileCardState {
  /** Of whom a card is shown; null for nobody. */
  subject: SubjectId | null;
  show: (subject: SubjectId) => void;
  hide: () => void;
}

/** The card of a person or agent, which opens over any page. */
export const useProfileCard = create<ProfileCardState>((set) => ({
  subject: null,
  show: (subject) => set({ subject }),
  hide: () => set({ subject: null }),
}));
