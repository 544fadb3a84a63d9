import type { KeyboardEvent } from "react";

/** The key code that WebKit reports for the key that ends a composition: `isComposing` is false by then (WebKit bug 165004). */
const IME_KEY_CODE = 229;

/** Whether a key event belongs to an input method that is composing text, and not to the page. */
export function isComposing(event: KeyboardEvent): boolean {
  // eslint-disable-next-line @typescript-eslint/no-deprecated -- the only sign that WebKit gives
  return event.nativeEvent.isComposing || event.keyCode === IME_KEY_CODE;
}
