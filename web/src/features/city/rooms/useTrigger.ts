import { useRef, useState, type RefObject } from "react";
import { triggerAt, type Trigger } from "./completion";

/** The trigger at the caret. A closed completion stays closed until another sign is written. */
export function useTrigger(field: RefObject<HTMLTextAreaElement | null>) {
  const [trigger, setTrigger] = useState<Trigger | null>(null);
  const closedAt = useRef<number | null>(null);
  const look = () => {
    const shown = field.current;
    const isCaret = shown !== null && shown.selectionStart === shown.selectionEnd;
    const found = isCaret ? triggerAt(shown.value, shown.selectionStart) : null;
    if (found?.start !== closedAt.current) closedAt.current = null;
    const isSame = found?.start === trigger?.start && found?.query === trigger?.query && found?.sign === trigger?.sign;
    if (!isSame) setTrigger(closedAt.current === null ? found : null);
  };
  const close = () => {
    closedAt.current = trigger?.start ?? null;
    setTrigger(null);
  };
  /** After a message is sent, the next one may begin with the same sign. */
  const reset = () => {
    closedAt.current = null;
    setTrigger(null);
  };
  return { trigger, look, close, reset };
}
