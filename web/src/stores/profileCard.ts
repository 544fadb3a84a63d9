import { create } from "zustand";
import type { SubjectId } from "../api/types";

interface ProfileCardState {
  /** The subject whose card is shown; null for none. */
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
