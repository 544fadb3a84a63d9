import { useState, type FocusEvent, type ReactNode } from "react";
import { useTranslation } from "../../../lib/i18n";
import styles from "./Folded.module.css";

/** Text beyond these bounds is folded. */
const MAX_CHARS = 1_800;
const MAX_LINES = 24;

/** Messages that the reader unfolded; the list removes rows that are out of sight. */
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
  /** A link that gets the focus below the fold is shown. */
  const onFocus = ({ target, currentTarget }: FocusEvent) => {
    if (!isOpen && target.getBoundingClientRect().bottom > currentTarget.getBoundingClientRect().bottom) toggle();
  };
  return (
    <>
      {/* It has links that get the focus. */}
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
