import { useEffectEvent, useLayoutEffect } from "react";
import { overlayEntries } from "../lib/overlayEntries";

/** Declare that the component covers the page while `isOpen`: going back in the browser's history calls `onClose`. */
export function useOverlay(onClose: () => void, isOpen = true): void {
  const close = useEffectEvent(onClose);
  useLayoutEffect(() => (isOpen ? overlayEntries.add(() => close()) : undefined), [isOpen]);
}
