import styles from "./Choices.module.css";

interface ChoicesProps {
  legend: string;
  choices: { value: string; words: string; lang?: string }[];
  chosen: string;
  /** In a form, the legend looks like the labels of the fields. */
  isInForm?: boolean;
  onChoose: (value: string) => void;
}

/** A choice between a few values, as radio buttons. */
export function Choices({ legend, choices, chosen, isInForm = false, onChoose }: ChoicesProps) {
  return (
    <fieldset className={`${styles.group} ${isInForm ? styles.inForm : ""}`}>
      <legend>{legend}</legend>
      {choices.map(({ value, words, lang }) => (
        <label key={value} className={styles.choice} lang={lang}>
          <input type="radio" name={legend} value={value} checked={value === chosen} onChange={() => onChoose(value)} />
          {words}
        </label>
      ))}
    </fieldset>
  );
}
