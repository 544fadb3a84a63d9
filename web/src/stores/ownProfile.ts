import { create } from "zustand";

interface OwnProfileState {
  isOpen: boolean;
  show: () => void;
  hide: () => void;
}

/** The dialog of the reader's own profile, which opens over any page. */
export const useOwnProfile = create<OwnProfileState>((set) => ({
  isOpen: false,
  show: () => set({ isOpen: true }),
  hide: () => set({ isOpen: false }),
}));
