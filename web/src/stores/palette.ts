import { useEffect } from "react";
import { create } from "zustand";

interface PaletteState {
  isOpen: boolean;
  show: () => void;
  hide: () => void;
}

/** Whether the palette, which finds rooms, people, agents and messages, is open. */
export const usePalette = create<PaletteState>((set) => ({
  isOpen: false,
  show: () => set({ isOpen: true }),
  hide: () => set({ isOpen: false }),
}));

/** Ctrl+K, or ⌘K, opens and closes the palette. `code` is the place of the key: with a Ukrainian layout the key itself is `л`. */
export function usePaletteKey(): void {
  useEffect(() => {
    const listener = (event: KeyboardEvent) => {
      if (event.code !== "KeyK" || event.altKey || event.shiftKey || !(event.ctrlKey || event.metaKey)) return;
      const { isOpen, show, hide } = usePalette.getState();
      // The palette does not open over another dialog.
      if (!isOpen && document.querySelector("dialog:modal")) return;
      event.preventDefault();
      if (isOpen) hide();
      else show();
    };
    addEventListener("keydown", listener);
    return () => removeEventListener("keydown", listener);
  }, []);
}
