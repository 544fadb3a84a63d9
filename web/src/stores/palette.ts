import { useLayoutEffect } from "react";
import { create } from "zustand";

interface PaletteState {
  isOpen: boolean;
  /** What was typed while the module of the palette was being loaded. */
  early: string;
  /** Whether Enter followed it. */
  isEnteredEarly: boolean;
  show: () => void;
  hide: () => void;
  typeEarly: (text: string) => void;
  enterEarly: () => void;
}

/** Whether the palette, which finds rooms, people, agents and messages, is open. */
export const usePalette = create<PaletteState>((set) => ({
  isOpen: false,
  early: "",
  isEnteredEarly: false,
  show: () => set({ isOpen: true, early: "", isEnteredEarly: false }),
  hide: () => set({ isOpen: false }),
  typeEarly: (early) => set({ early, isEnteredEarly: false }),
  enterEarly: () => set({ isEnteredEarly: true }),
}));

/** Ctrl+K, or ⌘K, opens and closes the palette. `code` is the place of the key: with a Ukrainian layout the key itself is `л`. */
export function usePaletteKey(): void {
  // The page that shows the key already has it, also if the key comes before the effects after the first paint.
  useLayoutEffect(() => {
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
