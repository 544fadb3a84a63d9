import type { ReactNode } from "react";
import { Icon } from "./Icon";
import styles from "./ListToolbar.module.css";

/** The controls that filter a list. */
export function ListToolbar({ children }: { children: ReactNode }) {
  return <search className={styles.toolbar}>{children}</search>;
}

export function SearchField({ label, value, onChange }: { label: string; value: string; onChange: (value: string) => void }) {
  return (
    <div className={styles.search}>
      <Icon name="search" />
      <input
        type="search"
        dir="auto"
        aria-label={label}
        placeholder={label}
        value={value}
        onChange={({ target }) => onChange(target.value)}
      />
    </div>
  );
}

interface ChipsProps<Value extends string> {
  label: string;
  choices: { value: Value; words: string }[];
  chosen: Value;
  onChoose: (value: Value) => void;
}

/** A choice between a few values, as toggle buttons. */
export function Chips<Value extends string>({ label, choices, chosen, onChoose }: ChipsProps<Value>) {
  return (
    <div className={styles.chips} role="group" aria-label={label}>
      {choices.map(({ value, words }) => (
        <button key={value} type="button" className={styles.chip} aria-pressed={value === chosen} onClick={() => onChoose(value)}>
          {words}
        </button>
      ))}
    </div>
  );
}
