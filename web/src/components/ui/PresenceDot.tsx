import { useTranslation } from "react-i18next";
import type { Status } from "../../api/types";
import styles from "./PresenceDot.module.css";

/** Whether somebody is here. `isSilent` where words beside it say the same. */
export function PresenceDot({ state, isSilent = false }: { state: Status; isSilent?: boolean }) {
  const { t } = useTranslation();
  const label = t(`status.${state}`);
  const className = `${styles.dot} ${styles[state]}`;
  if (isSilent) return <span className={className} aria-hidden="true" data-state={state} />;
  return <span className={className} role="img" aria-label={label} title={label} data-state={state} />;
}
