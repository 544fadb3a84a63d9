import { useRef, type TouchEvent } from "react";

const LONG_PRESS_MS = 450;
/** A finger that moves further than this scrolls. */
const STILL_PX = 10;

/** Touch handlers that call `onLongPress` with the element under a resting finger, unless it is in a control. */
export function useLongPress(onLongPress: (target: Element) => void) {
  const press = useRef<{ timer: ReturnType<typeof setTimeout>; x: number; y: number; isLong: boolean } | null>(null);
  const cancel = () => {
    if (press.current) clearTimeout(press.current.timer);
    press.current = null;
  };
  const onTouchStart = ({ touches, target }: TouchEvent) => {
    cancel();
    const touch = touches[0];
    if (touches.length !== 1 || !touch || !(target instanceof Element) || target.closest("a, button, input, video, audio"))
      return;
    const timer = setTimeout(() => {
      if (press.current) press.current.isLong = true;
      onLongPress(target);
    }, LONG_PRESS_MS);
    press.current = { timer, x: touch.clientX, y: touch.clientY, isLong: false };
  };
  const onTouchEnd = (event: TouchEvent) => {
    // Some browsers would click what has opened under the finger, such as the backdrop of a dialog, which closes it.
    if (press.current?.isLong && event.cancelable) event.preventDefault();
    cancel();
  };
  const onTouchMove = ({ touches }: TouchEvent) => {
    const touch = touches[0];
    const start = press.current;
    if (start && touch && Math.hypot(touch.clientX - start.x, touch.clientY - start.y) > STILL_PX) cancel();
  };
  return { onTouchStart, onTouchMove, onTouchEnd, onTouchCancel: cancel };
}
