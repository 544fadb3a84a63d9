import { useTranslation } from "../../lib/i18n";
import type { Status } from "../../api/types";
import styles from "./PresenceDot.module.css";

/** The presence of somebody as a dot. `isSilent` hides it from screen readers, for when words beside it say the same. */
export function PresenceDot({ state, isSilent = false }: { state: Status; isSilent?: boolean }) {
  if (!isSilent) return <NamedDot state={state} />;
  return <span className={classOf(state)} aria-hidden="true" data-state={state} />;
}

function NamedDot({ state }: { state: Status }) {
  const { t } = useTranslation();
  const label = t(`status.${state}`);
  return <span className={classOf(state)} role="img" aria-label={label} title={label} data-state={state} />;
}

function classOf(state: Status): string {
  return `${styles.dot} ${styles[state]}`;
}
