import { useState, type FocusEvent, type ReactNode } from "react";
import { useTranslation } from "../../../lib/i18n";
import styles from "./Folded.module.css";

/** Longer text is folded. */
const MAX_CHARS = 1_800;
const MAX_LINES = 24;

/** The ids of messages that the reader unfolded; the list unmounts rows that are out of view. */
const unfolded = new Set<string>();

export function isLong(body: string): boolean {
  return body.length > MAX_CHARS || body.split("\n", MAX_LINES + 1).length > MAX_LINES;
}

/** The beginning of a long text, and a button that shows the rest. */
export function Folded({ id, children }: { id: string; children: ReactNode }) {
  const { t } = useTranslation();
  const [isOpen, setOpen] = useState(unfolded.has(id));
  const toggle = () => {
    if (isOpen) unfolded.delete(id);
    else unfolded.add(id);
    setOpen(!isOpen);
  };
  /** Unfold the text when a link below the fold gets the focus. */
  const onFocus = ({ target, currentTarget }: FocusEvent) => {
    if (!isOpen && target.getBoundingClientRect().bottom > currentTarget.getBoundingClientRect().bottom) toggle();
  };
  return (
    <>
      {/* The element contains links that can get the focus. */}
      {/* eslint-disable-next-line jsx-a11y/no-static-element-interactions */}
      <div className={isOpen ? undefined : styles.folded} data-folded={!isOpen} onFocus={onFocus}>
        {children}
      </div>
      <button type="button" className={styles.toggle} aria-expanded={isOpen} onClick={toggle}>
        {t(isOpen ? "room.showLess" : "room.showMore")}
      </button>
    </>
  );
}
